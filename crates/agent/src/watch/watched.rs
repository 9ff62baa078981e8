//! One watched tree with all who listen to it, and the task that reads it.

use super::queue::Queue;
use super::record::{Cursor, Line, Record};
use super::registry::Trees;
use super::tree::{Round, Tree, Trouble, Wish};
use super::{Change, Kind, Lost};
use rustix::fd::OwnedFd;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, sleep_until, Instant};

/// How long the second half of a rename is waited for.
const GRACE: Duration = Duration::from_millis(20);
/// How long a tree is watched after it was last asked for.
pub(super) const KEPT: Duration = Duration::from_secs(600);
/// How often it is looked whether the root is still the root: a directory above it that was
/// renamed says nothing.
const CHECK: Duration = Duration::from_secs(10);

/// What trees are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

/// A tree, its record, and its listeners.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) key: Key,
    record: RefCell<Record>,
    streams: RefCell<Vec<Rc<Queue>>>,
    asked: Cell<Instant>,
    /// Answered when all that happened before is in the record.
    requests: mpsc::UnboundedSender<oneshot::Sender<()>>,
    task: RefCell<Option<AbortHandle>>,
}

/// A stream's place in a tree; leaves it when dropped.
pub(super) struct Subscription {
    watched: Rc<Watched>,
    pub(super) queue: Rc<Queue>,
    pub(super) now: Cursor,
    /// From where it goes on.
    pub(super) begin: Cursor,
    /// What it missed; `None` when that is not known any more.
    pub(super) missed: Option<Vec<Line>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut streams = self.watched.streams.borrow_mut();
        streams.retain(|queue| !Rc::ptr_eq(queue, &self.queue));
        self.watched.asked.set(Instant::now());
    }
}

/// A tree and the means to wait for it.
pub(super) struct Source {
    tree: Tree,
    ready: AsyncFd<OwnedFd>,
}

impl Source {
    /// Watches all there is to watch.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn open(wish: Wish) -> Result<Self, Trouble> {
        let tree = off_thread(move || Tree::open(wish)).await;
        let tree = tree.map_err(Trouble::Root)??;
        let ready = tree.handle().and_then(crate::sys::watched);
        Ok(Self {
            tree,
            ready: ready.map_err(Trouble::Root)?,
        })
    }

    async fn round(self, settle: bool) -> std::io::Result<(Self, Result<Round, Lost>)> {
        let Self { mut tree, ready } = self;
        let (tree, round) = off_thread(move || {
            let round = tree.round(settle);
            (tree, round)
        })
        .await?;
        Ok((Self { tree, ready }, round))
    }
}

/// Runs `work` where it may block.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)
}

/// A number no record had before.
pub(super) fn instance() -> u64 {
    let mut bytes = [0; 8];
    // Before the kernel has entropy, which was long before any sandbox: time serves too.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap_or_default().as_nanos() as u64
        }
    }
}

impl Watched {
    /// Begins to attend to a tree.
    pub(super) fn start(key: Key, wish: Wish, source: Source, trees: &Rc<Trees>) -> Rc<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let watched = Rc::new(Self {
            key,
            record: RefCell::new(Record::new(instance())),
            streams: RefCell::default(),
            asked: Cell::new(Instant::now()),
            requests,
            task: RefCell::default(),
        });
        let attendant = Attendant {
            watched: Rc::clone(&watched),
            trees: Rc::clone(trees),
            wish,
            inbox,
            waiting: Vec::new(),
        };
        let task = tokio::task::spawn_local(attendant.attend(source));
        watched.task.replace(Some(task.abort_handle()));
        watched
    }

    /// Ends it; nobody may listen.
    pub(super) fn stop(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Waits until all that has happened by now is in the record. Returns whether the tree is
    /// still there.
    pub(super) async fn caught_up(&self) -> bool {
        self.asked.set(Instant::now());
        let (sender, answer) = oneshot::channel();
        self.requests.send(sender).is_ok() && answer.await.is_ok()
    }

    /// Now, and what changed since `cursor`, if that is known.
    pub(super) fn since(&self, cursor: Option<Cursor>) -> (Cursor, Option<Vec<Line>>) {
        let record = self.record.borrow();
        let lines = match cursor {
            Some(cursor) => record.since(cursor),
            None => Some(Vec::new()),
        };
        (record.cursor(), lines)
    }

    /// Adds a stream, which goes on at `cursor` or begins now.
    pub(super) fn subscribe(self: &Rc<Self>, cursor: Option<Cursor>) -> Subscription {
        let (now, missed) = self.since(cursor);
        let queue = Rc::new(Queue::default());
        self.streams.borrow_mut().push(Rc::clone(&queue));
        let known = cursor.filter(|_| missed.is_some());
        Subscription {
            watched: Rc::clone(self),
            queue,
            now,
            begin: known.unwrap_or(now),
            missed,
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Since when nobody has asked for it; `None` while somebody listens.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams() == 0).then(|| self.asked.get())
    }

    fn publish(&self, changes: Vec<Change>) {
        let mut record = self.record.borrow_mut();
        let streams = self.streams.borrow();
        for change in changes {
            record.add(&change);
            if change.kind == Kind::Carried || streams.is_empty() {
                continue;
            }
            let change = Rc::new(change);
            for queue in streams.iter() {
                queue.change(&change, record.cursor());
            }
        }
    }

    fn lost(&self, reason: Lost) {
        let record = Record::new(instance());
        for queue in self.streams.borrow().iter() {
            queue.resync(reason.reason(), record.cursor());
        }
        *self.record.borrow_mut() = record;
    }

    fn end(&self, code: &'static str, message: &str) {
        for queue in self.streams.borrow().iter() {
            queue.end(code, message.to_owned());
        }
    }
}

/// Reads a tree for as long as somebody wants it.
struct Attendant {
    watched: Rc<Watched>,
    trees: Rc<Trees>,
    wish: Wish,
    inbox: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Attendant {
    async fn attend(mut self, mut source: Source) {
        let (mut unsettled, mut drained) = (false, true);
        loop {
            let settle = if drained {
                match self.wait(&source, unsettled).await {
                    Some(settle) => settle,
                    None => break,
                }
            } else {
                !self.waiting.is_empty()
            };
            match source.round(settle).await {
                Ok((next, Ok(round))) => {
                    source = next;
                    unsettled = round.unsettled;
                    self.watched.publish(round.changes);
                    drained = round.drained;
                    if drained {
                        self.answer();
                    }
                }
                Ok((_, Err(reason))) => match self.again(reason).await {
                    Some(next) => {
                        source = next;
                        // What happened meanwhile is read before anybody is answered.
                        (unsettled, drained) = (false, false);
                    }
                    None => break,
                },
                Err(error) => {
                    self.watched.end("internal", &format!("watching: {error}"));
                    break;
                }
            }
        }
        // Before the requests fail: who asks again then finds a new tree or none.
        self.trees.remove(&self.watched);
    }

    /// Waits for a reason to read. `None` once nobody wants the tree any more; else whether names
    /// that went away are to be settled.
    async fn wait(&mut self, source: &Source, unsettled: bool) -> Option<bool> {
        if !self.waiting.is_empty() {
            return Some(true);
        }
        loop {
            let check = self.watched.idle_since().map(|since| since + KEPT);
            let check = check.unwrap_or_else(|| Instant::now() + CHECK);
            tokio::select! {
                ready = source.ready.readable() => {
                    // Cleared first: the round reads until nothing is left.
                    ready.ok()?.clear_ready();
                    return Some(false);
                }
                Some(request) = self.inbox.recv() => {
                    self.waiting.push(request);
                    while let Ok(request) = self.inbox.try_recv() {
                        self.waiting.push(request);
                    }
                    return Some(true);
                }
                () = sleep(GRACE), if unsettled => return Some(true),
                () = sleep_until(check) => match self.watched.idle_since() {
                    Some(since) if since.elapsed() >= KEPT => return None,
                    Some(_) => {}
                    None => return Some(false),
                }
            }
        }
    }

    fn answer(&mut self) {
        for request in self.waiting.drain(..) {
            // Who asked may have left.
            let _ = request.send(());
        }
    }

    /// Something was lost: begins anew.
    async fn again(&mut self, reason: Lost) -> Option<Source> {
        let root = self.wish.root.display();
        if reason == Lost::RootGone {
            let message = format!("{root} is no longer there, or another lies in its place");
            self.watched.end("file_not_found", &message);
            return None;
        }
        match Source::open(self.wish.clone()).await {
            Ok(source) => {
                self.watched.lost(reason);
                Some(source)
            }
            Err(trouble) => {
                self.watched.lost(reason);
                let problem = super::service::refusal(&self.wish.root, &trouble);
                self.watched.end(problem.code, &problem.message);
                None
            }
        }
    }
}
