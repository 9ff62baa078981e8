//! Connect RPC with JSON bodies, as far as E2B's clients speak it: bare JSON for unary calls,
//! enveloped JSON for streams.
//!
//! An envelope is one flag byte, a 4-byte big-endian length and the message. The last envelope
//! of a response carries [`END_STREAM`] and either `{}` or the error.

use serde::Serialize;

/// The size of what precedes a message, in bytes.
pub const HEADER: usize = 5;
/// Flag: the message is compressed. No client sends it; it is refused.
pub const COMPRESSED: u8 = 0x01;
/// Flag: the last envelope of a stream.
pub const END_STREAM: u8 = 0x02;
/// The longest message a client may send, in bytes.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Why a call failed, in Connect's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Canceled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// The HTTP status of a unary call that failed with this code.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::Canceled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: Code,
    /// What failed, on which object.
    pub message: String,
}

impl Failure {
    /// A failure with `code` that says `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Wraps one message of a stream.
///
/// # Errors
/// Only if `message` cannot be written as JSON.
pub fn envelope<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    seal(&mut bytes);
    Ok(bytes)
}

/// Fills in the length of an envelope whose message starts at [`HEADER`].
pub fn seal(envelope: &mut [u8]) {
    let length = u32::try_from(envelope.len() - HEADER).unwrap_or(u32::MAX);
    envelope[1..HEADER].copy_from_slice(&length.to_be_bytes());
}

/// The last envelope of a stream.
#[must_use]
pub fn end_of_stream(failure: Option<&Failure>) -> Vec<u8> {
    #[derive(Serialize)]
    struct End<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Failure>,
    }
    let mut bytes = vec![END_STREAM, 0, 0, 0, 0];
    // Writing two plain strings into memory cannot fail; were it to, `{}` would be missing and
    // the client would report a broken stream, which is then the truth.
    let _ = serde_json::to_writer(&mut bytes, &End { error: failure });
    seal(&mut bytes);
    bytes
}

/// Bytes that are no envelope this side accepts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("message of {0} bytes is longer than {MAX_MESSAGE}")]
    TooLong(usize),
    #[error("compressed messages are not supported")]
    Compressed,
    #[error("envelope flags {0:#04x} are not known")]
    Flags(u8),
}

/// Splits a growing request body into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`EnvelopeError`]; the stream can't be read on after that.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, EnvelopeError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        match header[0] {
            0 | END_STREAM => {}
            COMPRESSED | 0x03 => return Err(EnvelopeError::Compressed),
            flags => return Err(EnvelopeError::Flags(flags)),
        }
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > MAX_MESSAGE {
            return Err(EnvelopeError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        let message = self.buffer[HEADER..HEADER + length].to_vec();
        self.buffer.drain(..HEADER + length);
        Ok(Some(message))
    }

    /// Whether nothing of a next message has arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Bytes as protobuf's JSON writes them: base64, on reading either alphabet, padded or not.
pub mod bytes {
    use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
    use base64::engine::DecodePaddingMode;
    use base64::{alphabet, Engine};
    use serde::{Deserialize, Deserializer, Serializer};

    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

    /// # Errors
    /// Those of `serializer`.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// # Errors
    /// If the text is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let engine = if text.contains(['-', '_']) {
            &URL_SAFE
        } else {
            &STANDARD
        };
        engine
            .decode(text.as_bytes())
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_survive_any_cutting(texts in prop::collection::vec(".{0,40}", 0..8), cut in 1usize..9) {
            let stream: Vec<u8> = texts.iter().flat_map(|t| envelope(t).unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut seen: Vec<String> = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    seen.push(serde_json::from_slice(&message).unwrap());
                }
            }
            prop_assert_eq!(seen, texts);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = Decoder::default();
            decoder.feed(&noise);
            while let Ok(Some(_)) = decoder.next_message() {}
        }
    }

    #[test]
    fn a_promise_of_too_much_is_refused_before_its_body_arrives() {
        let mut decoder = Decoder::default();
        decoder.feed(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(
            decoder.next_message(),
            Err(EnvelopeError::TooLong(_))
        ));
        let mut decoder = Decoder::default();
        decoder.feed(&[1, 0, 0, 0, 0]);
        assert_eq!(decoder.next_message(), Err(EnvelopeError::Compressed));
    }

    #[test]
    fn the_end_says_what_failed() {
        assert_eq!(end_of_stream(None), b"\x02\0\0\0\x02{}");
        let end = end_of_stream(Some(&Failure::new(Code::NotFound, "no")));
        assert_eq!(
            &end[HEADER..],
            br#"{"error":{"code":"not_found","message":"no"}}"#
        );
    }
}
