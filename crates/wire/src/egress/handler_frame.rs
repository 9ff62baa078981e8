//! What the edge and the handlers' process say to each other: frames of a big-endian u32 that
//! counts the payload's bytes, a kind and the payload.
//!
//! One exchange at a time per connection. The handler's last frame ends it; whatever the edge has
//! sent before its next [`Kind::Request`] belongs to the exchange that is over and is passed over.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// The longest payload of a head, in bytes: header lines of 64 KiB, each byte written as two, and
/// the parameters.
pub const MAX_HEAD: usize = 256 * 1024;
/// The bytes in front of a payload.
pub const HEADER: usize = 5;
/// How many bytes of a body may come before more are asked for. Of a request's body: none.
pub const FIRST_CREDIT: u32 = 262_144;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Edge: a [`RequestHead`], the beginning of an exchange.
    Request = b'R',
    /// Edge: bytes of the request's body.
    RequestBody = b'b',
    RequestEnd = b'e',
    /// Handler: a [`ForwardHead`].
    Forward = b'F',
    /// Handler: bytes of the body to send on.
    ForwardBody = b'c',
    ForwardEnd = b'd',
    /// Edge: a [`ResponseHead`], what the forwarded request was answered.
    Response = b'S',
    ResponseBody = b's',
    ResponseEnd = b't',
    /// Handler: a [`ResponseHead`], what the sandbox gets.
    Answer = b'A',
    AnswerBody = b'a',
    AnswerEnd = b'z',
    /// Both: a [`Failure`]. The handler's ends the exchange; the edge's stands for a response that
    /// did not come, or not to its end.
    Failure = b'X',
    /// Both: a [`Credit`].
    Credit = b'K',
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Request,
        Self::RequestBody,
        Self::RequestEnd,
        Self::Forward,
        Self::ForwardBody,
        Self::ForwardEnd,
        Self::Response,
        Self::ResponseBody,
        Self::ResponseEnd,
        Self::Answer,
        Self::AnswerBody,
        Self::AnswerEnd,
        Self::Failure,
        Self::Credit,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum HandlerFrameError {
    #[error("a frame of {0} bytes is longer than its kind may be")]
    TooLong(usize),
    #[error("no kind of frame is {0:#04x}")]
    Kind(u8),
    #[error("no credit")]
    Credit,
    #[error("payload: {0}")]
    Payload(#[from] serde_json::Error),
}

/// Header lines, or trailers: names and values, each character of a value standing for one byte.
pub type Headers = Vec<(String, String)>;

/// A request that a rule gives to a handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestHead {
    pub handler: String,
    pub parameters: Map<String, Value>,
    /// How long the handler has to say what becomes of it.
    pub timeout_ms: u32,
    pub sandbox: SandboxFacts,
    pub method: String,
    pub url: String,
    /// `HTTP/1.1` or `HTTP/2.0`, as the sandbox speaks.
    pub version: String,
    pub headers: Headers,
    /// Whether there is a body.
    pub body: bool,
}

/// What a handler is told of the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxFacts {
    pub id: String,
    pub name: Option<String>,
    pub tenant: Option<String>,
    pub labels: std::collections::BTreeMap<String, String>,
}

/// What to send on in the request's place; the url keeps scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardHead {
    pub method: String,
    pub url: String,
    pub headers: Headers,
    pub body: ForwardedBody,
    /// Of a body that comes as frames, where it is known.
    pub length: Option<u64>,
    pub response: ResponseTo,
}

/// The body of a request sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedBody {
    /// What the sandbox sends; only if the handler has asked for none of it.
    Original,
    /// It comes in [`Kind::ForwardBody`] frames.
    Stream,
    None,
}

/// Where the response of a request sent on goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseTo {
    /// To the sandbox, past the handler.
    Passthrough,
    /// To the handler.
    Stream,
}

/// A response to the handler, or its answer to the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseHead {
    pub status: u16,
    pub headers: Headers,
    /// Of the body, in bytes, where it is known.
    pub length: Option<u64>,
}

/// Why there is nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub reason: String,
}

/// So many more bytes of a body may come. As bytes: the kind of the body's frames, big-endian u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    pub body: Kind,
    pub bytes: u32,
}

impl Credit {
    /// Writes it as a payload.
    #[must_use]
    pub fn encode(self) -> [u8; 5] {
        let mut payload = [self.body as u8; 5];
        payload[1..].copy_from_slice(&self.bytes.to_be_bytes());
        payload
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`HandlerFrameError::Credit`].
    pub fn decode(payload: &[u8]) -> Result<Self, HandlerFrameError> {
        let refused = HandlerFrameError::Credit;
        let &[body, ref bytes @ ..] = payload else {
            return Err(refused);
        };
        let bytes = <[u8; 4]>::try_from(bytes).map(u32::from_be_bytes);
        match (Kind::from_byte(body), bytes) {
            (
                Some(
                    body @ (Kind::RequestBody
                    | Kind::ForwardBody
                    | Kind::ResponseBody
                    | Kind::AnswerBody),
                ),
                Ok(bytes),
            ) => Ok(Self { body, bytes }),
            _ => Err(refused),
        }
    }
}

/// Reads what stands in front of a payload: its kind and length.
///
/// # Errors
/// [`HandlerFrameError::Kind`] and [`HandlerFrameError::TooLong`].
pub fn read_header(header: [u8; HEADER]) -> Result<(Kind, usize), HandlerFrameError> {
    let [a, b, c, d, kind] = header;
    let kind = Kind::from_byte(kind).ok_or(HandlerFrameError::Kind(kind))?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    check_length(kind, length)?;
    Ok((kind, length))
}

/// Writes what stands in front of a payload of `length` bytes.
///
/// # Errors
/// [`HandlerFrameError::TooLong`].
pub fn write_header(kind: Kind, length: usize) -> Result<[u8; HEADER], HandlerFrameError> {
    check_length(kind, length)?;
    let count = u32::try_from(length).map_err(|_| HandlerFrameError::TooLong(length))?;
    let [a, b, c, d] = count.to_be_bytes();
    Ok([a, b, c, d, kind as u8])
}

fn check_length(kind: Kind, length: usize) -> Result<(), HandlerFrameError> {
    let limit = match kind {
        Kind::RequestBody | Kind::ForwardBody | Kind::ResponseBody | Kind::AnswerBody => {
            MAX_PAYLOAD
        }
        Kind::Credit => 5,
        _ => MAX_HEAD,
    };
    if length > limit {
        return Err(HandlerFrameError::TooLong(length));
    }
    Ok(())
}

/// Writes a whole frame with a head as its payload.
///
/// # Errors
/// [`HandlerFrameError::TooLong`].
pub fn encode_head<T: Serialize>(kind: Kind, head: &T) -> Result<Vec<u8>, HandlerFrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, head)?;
    let header = write_header(kind, frame.len() - HEADER)?;
    frame[..HEADER].copy_from_slice(&header);
    Ok(frame)
}

/// Reads a head.
///
/// # Errors
/// [`HandlerFrameError::Payload`].
pub fn decode_head<T: DeserializeOwned>(payload: &[u8]) -> Result<T, HandlerFrameError> {
    Ok(serde_json::from_slice(payload)?)
}

/// Reads the trailers at the end of a body; an empty payload has none.
///
/// # Errors
/// [`HandlerFrameError::Payload`].
pub fn decode_trailers(payload: &[u8]) -> Result<Headers, HandlerFrameError> {
    if payload.is_empty() {
        return Ok(Headers::new());
    }
    decode_head(payload)
}

/// A header value as it stands in a head.
#[must_use]
pub fn latin1(value: &[u8]) -> String {
    value.iter().copied().map(char::from).collect()
}

/// The bytes of a header value in a head; `None` where a character is none of latin-1.
#[must_use]
pub fn from_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(Kind::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_header_says_what_was_written(kind in a_kind(), length in 0usize..2 * MAX_PAYLOAD) {
            match write_header(kind, length) {
                Ok(header) => prop_assert_eq!(read_header(header).unwrap(), (kind, length)),
                Err(_) => {
                    let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
                    prop_assert!(read_header([a, b, c, d, kind as u8]).is_err());
                }
            }
        }

        #[test]
        fn noise_is_a_header_that_is_written_the_same_or_refused(header in any::<[u8; HEADER]>()) {
            if let Ok((kind, length)) = read_header(header) {
                prop_assert_eq!(write_header(kind, length).unwrap(), header);
            }
        }

        #[test]
        fn noise_is_no_credit_or_one_that_is_written_the_same(
            payload in prop::collection::vec(any::<u8>(), 0..7)
        ) {
            if let Ok(credit) = Credit::decode(&payload) {
                prop_assert_eq!(&credit.encode()[..], payload);
            }
        }

        #[test]
        fn a_credit_survives(bytes in any::<u32>()) {
            let credit = Credit { body: Kind::AnswerBody, bytes };
            prop_assert_eq!(Credit::decode(&credit.encode()).unwrap(), credit);
        }

        #[test]
        fn every_byte_of_a_value_survives(value in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(from_latin1(&latin1(&value)).unwrap(), value);
        }

        #[test]
        fn a_head_survives(name in "[a-z-]{1,20}", value in "[\u{20}-\u{ff}]{0,40}", status in 0u16..1000) {
            let head = ResponseHead { status, headers: vec![(name, value)], length: None };
            let frame = encode_head(Kind::Answer, &head).unwrap();
            let (kind, length) = read_header(*frame.first_chunk().unwrap()).unwrap();
            prop_assert_eq!((kind, length), (Kind::Answer, frame.len() - HEADER));
            prop_assert_eq!(decode_head::<ResponseHead>(&frame[HEADER..]).unwrap(), head);
        }
    }

    #[test]
    fn only_bodies_have_credit_and_only_latin1_is_a_value() {
        assert!(Credit::decode(b"R\0\0\0\x01").is_err());
        assert!(Credit::decode(b"K\0\0\0\x01").is_err());
        assert_eq!(from_latin1("a\u{100}"), None);
        assert!(decode_trailers(b"").unwrap().is_empty());
        assert!(decode_trailers(b"{}").is_err());
    }

    #[test]
    fn a_head_that_is_too_long_is_not_written() {
        let reason = "x".repeat(MAX_HEAD);
        assert!(encode_head(Kind::Failure, &Failure { reason }).is_err());
    }
}
