//! Frames between the parts of a node: a 4-byte big-endian length, then that many bytes of JSON.
//!
//! Used on the launcher's socket and on the socket between edge and control plane. Descriptors,
//! where a message carries any, travel as `SCM_RIGHTS` beside the first byte of its frame.

use serde::{de::DeserializeOwned, Serialize};

/// The longest body a peer may send, in bytes. A longer one ends the connection.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// The size of the length prefix, in bytes.
pub const HEADER: usize = 4;

/// Why bytes could not be read or written as a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length prefix promises more than [`MAX_BODY`].
    #[error("frame of {0} bytes is longer than {MAX_BODY}")]
    TooLong(usize),
    /// The body is not the JSON that was expected.
    #[error("frame body: {0}")]
    Body(#[from] serde_json::Error),
}

/// Writes `message` as one frame.
///
/// # Errors
/// [`FrameError::TooLong`] if its JSON is longer than [`MAX_BODY`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEADER;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_BODY);
    let prefix = prefix.ok_or(FrameError::TooLong(length))?;
    bytes[..HEADER].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes)
}

/// Reads the length prefix.
///
/// # Errors
/// [`FrameError::TooLong`] if it is above [`MAX_BODY`].
pub fn body_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > MAX_BODY {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

/// Reads a body.
///
/// # Errors
/// [`FrameError::Body`] if it is not the JSON of a `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(body)?)
}

/// Splits a growing byte stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole body, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]; the stream can't be read on after that.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let end = HEADER + body_length(*header)?;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let body = self.buffer[HEADER..end].to_vec();
        self.buffer.drain(..end);
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_cutting(texts in prop::collection::vec(".{0,40}", 0..8), cut in 1usize..9) {
            let stream: Vec<u8> = texts.iter().flat_map(|t| encode(t).unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut seen: Vec<String> = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                while let Some(body) = decoder.next_body().unwrap() {
                    seen.push(decode(&body).unwrap());
                }
            }
            prop_assert_eq!(seen, texts);
        }

        #[test]
        fn never_panics_on_noise(noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = Decoder::default();
            decoder.feed(&noise);
            while let Ok(Some(_)) = decoder.next_body() {}
        }
    }

    #[test]
    fn a_promise_of_too_much_is_refused_before_any_body_is_kept() {
        assert!(matches!(
            body_length([0xff; 4]),
            Err(FrameError::TooLong(_))
        ));
    }
}
