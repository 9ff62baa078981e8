//! What waits for one stream's reader. A reader that falls too far behind is told to look anew;
//! nobody waits for it.

use super::record::Cursor;
use super::Change;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::sync::Notify;

/// How many changes may wait, and how many bytes of paths.
const MAX_CHANGES: usize = 65_536;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One thing to be told.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Change(Rc<Change>, Cursor),
    Resync(&'static str, Cursor),
    /// The watch is over: code and message.
    End(&'static str, String),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Change(change, _) => change.path.len() + change.from.as_ref().map_or(0, Vec::len),
            Self::Resync(..) | Self::End(..) => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

/// The queue of one stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: RefCell<Waiting>,
    filled: Notify,
}

impl Queue {
    /// Adds a change; above the limits all that waits becomes one `resync`.
    pub(super) fn change(&self, change: &Rc<Change>, cursor: Cursor) {
        let item = Item::Change(Rc::clone(change), cursor);
        let mut waiting = self.waiting.borrow_mut();
        waiting.bytes += item.bytes();
        if waiting.items.len() >= MAX_CHANGES || waiting.bytes > MAX_BYTES {
            drop(waiting);
            self.resync("slow_reader", cursor);
            return;
        }
        waiting.items.push_back(item);
        self.filled.notify_one();
    }

    /// In place of all that waits: look anew.
    pub(super) fn resync(&self, reason: &'static str, cursor: Cursor) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.items = VecDeque::from([Item::Resync(reason, cursor)]);
        waiting.bytes = 0;
        self.filled.notify_one();
    }

    /// Behind all that waits: this was all.
    pub(super) fn end(&self, code: &'static str, message: String) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.items.push_back(Item::End(code, message));
        self.filled.notify_one();
    }

    /// Waits for something to tell, and takes it.
    pub(super) async fn next(&self) -> Item {
        loop {
            if let Some(item) = self.take() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    /// Takes what is there to tell.
    pub(super) fn take(&self) -> Option<Item> {
        let mut waiting = self.waiting.borrow_mut();
        let item = waiting.items.pop_front()?;
        waiting.bytes -= item.bytes();
        if waiting.items.is_empty() {
            // After a burst its memory is given back.
            waiting.items.shrink_to(64);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn change(path: Vec<u8>) -> Rc<Change> {
        Rc::new(Change {
            kind: Kind::Create,
            path,
            from: None,
            directory: false,
        })
    }

    fn cursor(number: u64) -> Cursor {
        Cursor {
            instance: 1,
            number,
        }
    }

    #[test]
    fn who_falls_behind_is_told_once_and_goes_on() {
        let queue = Queue::default();
        let limit = MAX_CHANGES as u64;
        for number in 0..limit + 2 {
            queue.change(&change(b"f".to_vec()), cursor(number));
        }
        assert!(
            matches!(queue.take(), Some(Item::Resync("slow_reader", at)) if at == cursor(limit))
        );
        assert!(matches!(queue.take(), Some(Item::Change(_, at)) if at == cursor(limit + 1)));
        assert!(queue.take().is_none());
        assert_eq!(queue.waiting.borrow().bytes, 0);
    }

    #[test]
    fn long_paths_count_by_their_length() {
        let queue = Queue::default();
        let path = vec![b'x'; 4096];
        for number in 0..=(MAX_BYTES / 4096) as u64 {
            queue.change(&change(path.clone()), cursor(number));
        }
        assert!(matches!(queue.take(), Some(Item::Resync("slow_reader", _))));
        assert!(queue.take().is_none());
    }
}
