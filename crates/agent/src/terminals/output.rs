//! What a terminal's program has written, and who has been sent how much of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{watch, Notify};
use tokio::time::{timeout, Instant};
use wardian_wire::vt::replay::{Replay, KEPT};

/// How far a client may be behind before the program is made to wait for it, in bytes: well within
/// what is kept, so that one that reads loses nothing.
const LAG: u64 = KEPT as u64 / 2;
/// How long, in sum, a client may hold up the program while it takes [`LAG`] bytes. A link slower
/// than that does not get all output, but what it comes to.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same while there are others, whom it holds up too.
const PATIENCE_AMONG_OTHERS: Duration = Duration::from_millis(100);

/// Output, shared by its clients.
#[derive(Debug)]
pub(super) struct Output {
    replay: RefCell<Replay>,
    /// Counts changes: output, and its end.
    changes: watch::Sender<u64>,
    clients: RefCell<Vec<Rc<Client>>>,
    progress: Notify,
    closed: Cell<bool>,
}

#[derive(Debug)]
struct Client {
    /// Up to where it has been sent the output.
    sent: Cell<u64>,
    /// How long it has held up the program since it had been sent [`Client::waited_from`].
    waited: Cell<Duration>,
    waited_from: Cell<u64>,
}

/// A client's place in the output; it lets go of it when dropped.
#[derive(Debug)]
pub(super) struct Place {
    output: Rc<Output>,
    client: Rc<Client>,
}

/// What a client is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Output(Vec<u8>),
    /// It has been sent everything so far.
    Nothing,
    /// It has been sent everything there will ever be.
    End,
}

impl Output {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            replay: RefCell::default(),
            changes: watch::channel(0).0,
            clients: RefCell::default(),
            progress: Notify::new(),
            closed: Cell::new(false),
        })
    }

    /// Takes what the program has written.
    pub(super) fn push(&self, output: &[u8]) {
        self.replay.borrow_mut().push(output);
        self.changes.send_modify(|count| *count += 1);
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits for clients that are behind, so that what a link can't carry as fast as the program
    /// writes is not lost to them; but not long.
    pub(super) async fn pace(&self) {
        loop {
            // Registered before looking, so that nobody reads on unnoticed in between.
            let progress = self.progress.notified();
            let behind = self.behind();
            let Some(patience) = behind.iter().map(|(_, patience)| *patience).max() else {
                return;
            };
            let since = Instant::now();
            // Late or not, what is left of the patience says what comes next.
            let _ = timeout(patience, progress).await;
            for (client, _) in behind {
                client.waited.set(client.waited.get() + since.elapsed());
            }
        }
    }

    /// The clients that are behind and worth waiting for, and how long each still is.
    fn behind(&self) -> Vec<(Rc<Client>, Duration)> {
        let end = self.replay.borrow().end();
        let clients = self.clients.borrow();
        let most = if clients.len() > 1 {
            PATIENCE_AMONG_OTHERS
        } else {
            PATIENCE
        };
        let late = clients.iter().filter_map(|client| {
            let patience = most.saturating_sub(client.waited());
            let waits = client.sent.get() + LAG < end && !patience.is_zero();
            waits.then(|| (Rc::clone(client), patience))
        });
        late.collect()
    }

    /// Adds a client, and what it is to be sent first: all that is kept, nothing if there is
    /// nothing yet.
    pub(super) fn attach(self: &Rc<Self>) -> (Place, Option<Vec<u8>>) {
        let end = self.replay.borrow().end();
        let client = Rc::new(Client {
            sent: Cell::new(end),
            waited: Cell::default(),
            waited_from: Cell::new(end),
        });
        self.clients.borrow_mut().push(Rc::clone(&client));
        let output = Rc::clone(self);
        let replay = (end > 0).then(|| self.replay.borrow().whole());
        (Place { output, client }, replay)
    }

    /// Whether a client that attaches now sees a part only of what the program drew.
    pub(super) fn needs_redraw(&self) -> bool {
        self.replay.borrow().needs_redraw()
    }

    /// Where changes are told.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Client {
    /// How long it has held up the program of late.
    fn waited(&self) -> Duration {
        if self.sent.get() >= self.waited_from.get() + LAG {
            self.waited.set(Duration::ZERO);
            self.waited_from.set(self.sent.get());
        }
        self.waited.get()
    }
}

impl Place {
    /// What comes next, at most `most` bytes of it; all that is kept where it is too late for
    /// that. The client counts as having been sent it.
    pub(super) fn next(&self, most: usize) -> Next {
        let replay = self.output.replay.borrow();
        let from = self.client.sent.get();
        if from == replay.end() {
            return if self.output.closed.get() {
                Next::End
            } else {
                Next::Nothing
            };
        }
        let output = match replay.since(from, most) {
            Some(output) => {
                self.client.sent.set(from + output.len() as u64);
                output
            }
            None => {
                self.client.sent.set(replay.end());
                replay.whole()
            }
        };
        Next::Output(output)
    }

    /// Tells who waits for clients that this one has taken what it was sent.
    pub(super) fn taken(&self) {
        self.output.progress.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.output.clients.borrow_mut();
        clients.retain(|client| !Rc::ptr_eq(client, &self.client));
        self.output.progress.notify_waiters();
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

    async fn write(output: &Output, count: usize) {
        for _ in 0..count {
            output.push(&[b'x'; 1023]);
            output.push(b"\n");
            output.pace().await;
        }
    }

    fn read_all(place: &Place) -> usize {
        let mut length = 0;
        while let Next::Output(output) = place.next(1000) {
            length += output.len();
            place.taken();
        }
        length
    }

    #[test]
    fn a_client_that_reads_loses_nothing_however_fast_the_program_is() {
        run(async {
            let output = Output::new();
            let (place, replay) = output.attach();
            assert_eq!(replay, None);
            let writer = Rc::clone(&output);
            let task = tokio::task::spawn_local(async move { write(&writer, 4096).await });
            let mut length = 0;
            while !task.is_finished() {
                tokio::task::yield_now().await;
                length += read_all(&place);
            }
            assert_eq!(length, 4096 * 1024);
            output.close();
            assert_eq!(place.next(1), Next::End);
        });
    }

    #[test]
    fn one_that_reads_slowly_but_steadily_loses_nothing_either() {
        run(async {
            let output = Output::new();
            let (place, _) = output.attach();
            let writer = Rc::clone(&output);
            let task = tokio::task::spawn_local(async move { write(&writer, 4096).await });
            let mut length = 0;
            while length < 4096 * 1024 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Next::Output(output) = place.next(32 * 1024) {
                    length += output.len();
                    place.taken();
                }
            }
            assert_eq!(length, 4096 * 1024);
            assert!(task.await.is_ok());
        });
    }

    #[test]
    fn one_that_does_not_read_holds_up_those_who_do_for_a_blink_only() {
        run(async {
            let output = Output::new();
            let (stuck, _) = output.attach();
            let (live, _) = output.attach();
            let writer = Rc::clone(&output);
            let begin = Instant::now();
            let task = tokio::task::spawn_local(async move { write(&writer, 4096).await });
            let mut length = 0;
            while !task.is_finished() {
                // Else the clock, which is the test's own, would stand still.
                tokio::time::sleep(Duration::from_millis(1)).await;
                length += read_all(&live);
            }
            assert_eq!(length, 4096 * 1024);
            assert!(begin.elapsed() < PATIENCE_AMONG_OTHERS * 3);
            let Next::Output(replay) = stuck.next(10) else {
                panic!("the stuck one has nothing to read");
            };
            assert!(
                replay.len() >= KEPT,
                "it gets a replay, not the next 10 bytes"
            );
            assert_eq!(stuck.next(10), Next::Nothing);
        });
    }

    #[test]
    fn one_that_is_alone_holds_up_the_program_for_a_moment_only() {
        run(async {
            let output = Output::new();
            let (_stuck, _) = output.attach();
            let begin = Instant::now();
            write(&output, 4096).await;
            assert_eq!(begin.elapsed(), PATIENCE);
        });
    }
}
