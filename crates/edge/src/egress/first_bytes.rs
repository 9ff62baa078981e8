//! What a connection begins with, before anything of it passes.

use super::flow::Flow;
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use wardian_wire::egress::destination::Host;
use wardian_wire::egress::event::Reason;
use wardian_wire::tls_hello::{self, ClientHello, HelloError, ServerName};

/// The most that is read before it is clear what it is.
const MOST: usize = tls_hello::MAX_HELLO + 1024;
const TLS_HANDSHAKE: u8 = 22;
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest first line of HTTP that is waited for, and the most space before it.
const LONGEST_LINE: usize = 16 * 1024;
const LONGEST_SPACE: usize = 64;

/// How a connection begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Tls(ClientHello),
    Http1,
    /// With the preface of HTTP/2, in the clear.
    Http2,
    /// Some other protocol, or nothing at all.
    Other,
}

/// Bytes that were read, and what they are once that is clear.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    bytes: BytesMut,
    /// How many of them have gone on already.
    gone: usize,
}

impl Beginning {
    /// Reads until it is clear what the stream is. Nothing is lost when it is given up half-way.
    ///
    /// # Errors
    /// Those of reading, and `Ok(Err(reason))` for what can't be understood and must not pass.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Result<First, Reason>> {
        loop {
            match look(&self.bytes) {
                Ok(Some(first)) => return Ok(Ok(first)),
                Ok(None) if self.bytes.len() >= MOST => return Ok(Err(Reason::TooLarge)),
                Ok(None) => {}
                Err(HelloError::NotTls) => return Ok(Ok(First::Other)),
                Err(HelloError::Malformed) => return Ok(Err(Reason::Malformed)),
                Err(HelloError::TooLong) => return Ok(Err(Reason::TooLarge)),
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(Ok(First::Other));
            }
        }
    }

    /// What can go on although it is not clear yet what it is: the start of a line that would be
    /// known for a request of HTTP before it is whole. Some protocols begin with a word and no end
    /// of line, and wait for an answer.
    pub(crate) fn hesitating(&mut self) -> &[u8] {
        let is_line = self.bytes.first() != Some(&TLS_HANDSHAKE) && !self.bytes.contains(&b'\n');
        let from = self.gone;
        if is_line {
            self.gone = self.bytes.len();
        }
        &self.bytes[from..self.gone]
    }

    /// Whether the beginning is out of hand: it can't be read as a request any more.
    pub(crate) fn has_gone(&self) -> bool {
        self.gone > 0
    }

    /// All that has not gone on.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        self.bytes.split_off(self.gone).freeze()
    }
}

/// What a stream that begins so is; `None`: that is not clear yet.
fn look(bytes: &[u8]) -> Result<Option<First>, HelloError> {
    match bytes.first() {
        None => Ok(None),
        Some(&TLS_HANDSHAKE) => Ok(tls_hello::parse(bytes)?.map(First::Tls)),
        Some(_) if bytes.starts_with(HTTP_2) => Ok(Some(First::Http2)),
        Some(_) if HTTP_2.starts_with(bytes) => Ok(None),
        Some(_) => Ok(look_for_request(bytes)),
    }
}

/// A request line of HTTP/1, read as generously as the most generous server might.
fn look_for_request(bytes: &[u8]) -> Option<First> {
    let line = bytes.trim_ascii_start();
    if line.is_empty() {
        return (bytes.len() > LONGEST_SPACE).then_some(First::Http1);
    }
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let method = line.iter().position(|b| !token(b));
    if method.is_some_and(|end| end == 0 || !matches!(line[end], b' ' | b'\t')) {
        return Some(First::Other);
    }
    let Some(length) = line.iter().position(|b| *b == b'\n') else {
        return (line.len() > LONGEST_LINE).then_some(First::Http1);
    };
    let names_http = line[..length]
        .windows(6)
        .any(|part| part[..5].eq_ignore_ascii_case(b"HTTP/") && part[5].is_ascii_digit());
    Some(if names_http {
        First::Http1
    } else {
        First::Other
    })
}

/// Whether a TLS client speaks to the host it dialled, and to nobody else behind it. `lenient`: the
/// deciding rule is for every host and looks at nothing, so there is nobody to hide from it.
///
/// # Errors
/// Why it must not pass.
pub(super) fn check_hello(hello: &ClientHello, flow: &Flow, lenient: bool) -> Result<(), Reason> {
    match (&flow.destination.host, &hello.server_name) {
        (Host::Name(dialled), ServerName::Name(named)) if dialled == named => {}
        (Host::Address(_), ServerName::Absent) => {}
        (Host::Address(_), ServerName::Name(_)) if lenient => {}
        _ => return Err(Reason::SniMismatch),
    }
    if hello.encrypted && !lenient {
        return Err(Reason::EncryptedHello);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(bytes: &[u8]) -> Option<First> {
        look(bytes).unwrap()
    }

    #[test]
    fn requests_are_known_however_odd() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            " \tget\t/\thttp/1.0\n",
            "M-SEARCH * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://other.example/ HTTP/1.1 \n",
        ] {
            assert_eq!(first(text.as_bytes()), Some(First::Http1), "{text:?}");
            // In pieces nothing else is thought of it before.
            for end in 0..text.find('\n').unwrap() {
                assert_eq!(first(&text.as_bytes()[..end]), None, "{text:?} {end}");
            }
        }
        assert_eq!(first(HTTP_2), Some(First::Http2));
        assert_eq!(first(b"PRI * HT"), None);
        assert_eq!(first(b"PRI * HTTP/2.0\r\n\r\nXX"), Some(First::Http1));
    }

    #[test]
    fn a_request_is_known_by_any_method() {
        let method = "A".repeat(1000);
        let line = format!("{method} / HTTP/1.1\r\n");
        assert_eq!(first(line.as_bytes()), Some(First::Http1));
        assert_eq!(first(method.as_bytes()), None);
        assert_eq!(first(method.repeat(20).as_bytes()), Some(First::Http1));
    }

    #[test]
    fn only_the_start_of_a_line_goes_on_before_it_is_clear_what_it_is() {
        let mut beginning = Beginning::default();
        beginning.bytes.extend_from_slice(b"HELLO");
        assert_eq!(beginning.hesitating(), b"HELLO");
        assert!(beginning.hesitating().is_empty() && beginning.has_gone());
        beginning.bytes.extend_from_slice(b" you\n");
        assert!(beginning.hesitating().is_empty());
        assert_eq!(&beginning.into_bytes()[..], b" you\n");
        let mut beginning = Beginning::default();
        beginning.bytes.extend_from_slice(&[TLS_HANDSHAKE, 3, 1]);
        assert!(beginning.hesitating().is_empty() && !beginning.has_gone());
    }

    #[test]
    fn other_protocols_are_none() {
        let other: [&[u8]; 6] = [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"PING\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"EHLO host\r\n",
            &[0, 0, 0, 8, 4, 210, 22, 47],
            &[22, 0, 0, 1],
        ];
        for bytes in other {
            let seen = look(bytes);
            let none = matches!(seen, Ok(Some(First::Other)) | Err(HelloError::NotTls));
            assert!(none, "{bytes:?} {seen:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = look(&bytes);
        }
    }
}
