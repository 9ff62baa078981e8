//! Buffers that one download uses again and again. Fresh memory from the kernel, a page fault and
//! a cleared page for each 4 KiB, costs more than the reading itself.

use std::sync::{Arc, Mutex, PoisonError};

/// The buffers of one download that are not in use. They are freed with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer in use; the first `filled` bytes are its content.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    pub(super) filled: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of at least `length` bytes.
    pub(super) fn take(&self, length: usize) -> Buffer {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = free.pop().unwrap_or_default();
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Buffer {
            bytes,
            filled: 0,
            home: self.clone(),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let free = &self.home.0;
        free.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn what_is_given_back_is_taken_again() {
        let buffers = Buffers::default();
        let mut first = buffers.take(10);
        first.filled = 3;
        assert_eq!(first.as_ref().len(), 3);
        let place = first.bytes.as_ptr();
        drop(first);
        let again = buffers.take(5);
        assert_eq!(again.bytes.as_ptr(), place);
        assert_eq!(again.as_ref().len(), 0);
        assert_ne!(buffers.take(5).bytes.as_ptr(), place);
    }
}
