//! From one command to all who listen to it.
//!
//! Each listener has a queue of [`QUEUE`] messages (at most 1 MiB of output). While a command has
//! one listener, a full queue makes the command wait, as a full pipe does: a client that stops
//! reading holds at most that much memory, and loses nothing when it reads on. While it has
//! several, none may hold up the others for long: a listener whose queue is full gets
//! [`PATIENCE`] to make room, all in all until it has caught up, and is then disconnected with
//! `resource_exhausted`. Without a listener, output is thrown away and the command runs on.

use crate::http::body::Verdict;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, Notify};
use tokio::time::{timeout, Instant};
use wardian_wire::connect::{Code, Failure};

/// How many messages a listener may lag behind; each is at most 32 KiB of output.
pub(crate) const QUEUE: usize = 32;
/// How long, in sum, a listener may make others wait before it has caught up.
const PATIENCE: Duration = Duration::from_secs(1);

/// One who listens.
#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<Bytes>,
    verdict: Verdict,
    patience: Cell<Duration>,
}

/// The listener's end.
pub(crate) struct Subscription {
    pub(crate) messages: mpsc::Receiver<Bytes>,
    pub(crate) verdict: Verdict,
    pub(crate) key: Key,
}

/// Names a listener to [`Hub::disconnect`].
#[derive(Clone, Debug)]
pub(crate) struct Key(mpsc::WeakSender<Bytes>);

impl Key {
    /// Waits until the listener has left.
    pub(crate) async fn left(&self) {
        if let Some(queue) = self.0.upgrade() {
            queue.closed().await;
        }
    }
}

/// All listeners of one command.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: RefCell<Vec<Rc<Listener>>>,
    joined: Notify,
}

impl Hub {
    /// Adds a listener, whose first message is `first`.
    pub(crate) fn subscribe(&self, first: Bytes) -> Subscription {
        let subscription = self.await_start();
        if let Some(queue) = subscription.key.0.upgrade() {
            // The queue is new and has room.
            let _ = queue.try_send(first);
        }
        subscription
    }

    /// Adds a listener before there is anything to hear.
    pub(crate) fn await_start(&self) -> Subscription {
        let (queue, messages) = mpsc::channel(QUEUE);
        let verdict = Verdict::default();
        let key = Key(queue.downgrade());
        self.listeners.borrow_mut().push(Rc::new(Listener {
            queue,
            verdict: verdict.clone(),
            patience: Cell::new(PATIENCE),
        }));
        self.joined.notify_waiters();
        Subscription {
            messages,
            verdict,
            key,
        }
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|l| !l.queue.is_closed());
        listeners.is_empty()
    }

    /// Ends one listener's stream with `failure`.
    pub(crate) fn disconnect(&self, key: &Key, failure: Failure) {
        let Some(queue) = key.0.upgrade() else { return };
        self.listeners.borrow_mut().retain(|listener| {
            let meant = listener.queue.same_channel(&queue);
            if meant {
                listener.verdict.set(failure.clone());
            }
            !meant
        });
    }

    /// Hands `message` to every listener; returns when all have it or are disconnected.
    pub(crate) async fn publish(&self, message: Bytes) {
        let listeners = self.listeners.borrow().clone();
        let mut full = Vec::new();
        for listener in listeners {
            match listener.queue.try_send(message.clone()) {
                Ok(()) if listener.queue.capacity() > QUEUE / 2 => listener.patience.set(PATIENCE),
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => full.push(listener),
                Err(mpsc::error::TrySendError::Closed(_)) => self.remove(&listener),
            }
        }
        for listener in full {
            self.wait_for(&listener, &message).await;
        }
    }

    async fn wait_for(&self, listener: &Rc<Listener>, message: &Bytes) {
        let room = listener.queue.reserve();
        tokio::pin!(room);
        let permit = loop {
            // Registered before counting, so that nobody joins unnoticed in between.
            let joined = self.joined.notified();
            let others = self.listeners.borrow().len() > 1;
            if others {
                let since = Instant::now();
                let patience = listener.patience.get();
                let permit = timeout(patience, &mut room).await;
                listener
                    .patience
                    .set(patience.saturating_sub(since.elapsed()));
                break permit.ok();
            }
            tokio::select! {
                permit = &mut room => break Some(permit),
                () = joined => {}
            }
        };
        match permit {
            Some(Ok(permit)) => permit.send(message.clone()),
            Some(Err(_)) => self.remove(listener),
            None => {
                listener.verdict.set(Failure::new(
                    Code::ResourceExhausted,
                    "this stream was read too slowly and held up the command's other streams; \
                     connect to the process again",
                ));
                self.remove(listener);
            }
        }
    }

    fn remove(&self, listener: &Rc<Listener>) {
        self.listeners
            .borrow_mut()
            .retain(|l| !Rc::ptr_eq(l, listener));
    }

    /// Hands every listener its last message and lets go of all. A listener whose queue is full
    /// gets it when it has read on; nothing else waits for that.
    pub(crate) fn finish(&self, last: &Bytes) {
        for listener in self.listeners.borrow_mut().drain(..) {
            if let Err(mpsc::error::TrySendError::Full(last)) =
                listener.queue.try_send(last.clone())
            {
                tokio::task::spawn_local(async move {
                    // Fails if the client goes away first.
                    let _ = listener.queue.send(last).await;
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl std::future::Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    fn message(n: usize) -> Bytes {
        n.to_string().into()
    }

    #[test]
    fn a_lone_listener_holds_up_the_command_and_loses_nothing() {
        run(async {
            let hub = Rc::new(Hub::default());
            let mut subscription = hub.subscribe(message(0));
            let publisher = Rc::clone(&hub);
            let task = tokio::task::spawn_local(async move {
                for n in 1..100 {
                    publisher.publish(message(n)).await;
                }
                publisher.finish(&message(100));
            });
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert!(!task.is_finished());
            for n in 0..=100 {
                assert_eq!(subscription.messages.recv().await, Some(message(n)));
            }
            assert_eq!(subscription.messages.recv().await, None);
        });
    }

    #[test]
    fn one_who_stops_reading_is_cut_when_others_listen() {
        run(async {
            let hub = Rc::new(Hub::default());
            let mut stuck = hub.subscribe(message(0));
            let publisher = Rc::clone(&hub);
            let task = tokio::task::spawn_local(async move {
                for n in 1..200 {
                    publisher.publish(message(n)).await;
                }
            });
            tokio::time::sleep(Duration::from_secs(60)).await;
            let mut live = hub.subscribe(message(0));
            let mut seen = 0;
            while !task.is_finished() {
                if timeout(Duration::from_secs(5), live.messages.recv())
                    .await
                    .is_ok()
                {
                    seen += 1;
                }
            }
            assert!(seen > 100, "the live one got {seen}");
            for _ in 0..QUEUE {
                assert!(stuck.messages.recv().await.is_some());
            }
            assert_eq!(stuck.messages.recv().await, None);
        });
    }

    #[test]
    fn without_listeners_nothing_waits() {
        run(async {
            let hub = Hub::default();
            drop(hub.subscribe(message(0)));
            for n in 0..1000 {
                hub.publish(message(n)).await;
            }
            assert!(hub.is_empty());
        });
    }
}
