//! What a TLS client asks for in the clear: the first message it sends, read from its records.
//!
//! RFC 8446, 4.1.2 and 5.1, RFC 6066, 3 and RFC 7301. Where a server could read it in another way
//! (an extension twice, two names), it is refused.

use crate::egress::hostname::Hostname;

/// The longest first message, in bytes with its records' heads.
pub const MAX_HELLO: usize = 64 * 1024;
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;
/// The longest plain record (RFC 8446, 5.1).
const MAX_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// What ECH was called before it was one (draft-ietf-tls-esni-01 to -06).
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What a client's first message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    pub server_name: ServerName,
    /// The protocols it offers, in its order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether it holds a second message for other eyes.
    pub encrypted: bool,
    /// How many bytes of the stream it took.
    pub length: usize,
}

/// Whom the client wants to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    Absent,
    Name(Hostname),
    /// It is there, and no host name.
    Invalid,
}

/// Why there is no [`ClientHello`].
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HelloError {
    /// The bytes don't begin as TLS does.
    #[error("not TLS")]
    NotTls,
    /// They do, and go on wrongly.
    #[error("not a first message of a TLS client, or one that can be read in two ways")]
    Malformed,
    #[error("the first message is longer than {MAX_HELLO} bytes")]
    TooLong,
}

/// Reads the first message from the start of a stream; `None` until more bytes arrive.
///
/// # Errors
/// [`HelloError`].
pub fn parse(stream: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let Some((message, length)) = collect(stream)? else {
        return Ok(None);
    };
    let mut hello = read(&message).ok_or(HelloError::Malformed)?;
    hello.length = length;
    Ok(Some(hello))
}

/// Puts the message together from its records; says how many bytes these took.
fn collect(stream: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HelloError> {
    let mut message = Vec::new();
    let mut rest = stream;
    loop {
        let first = message.is_empty();
        let Some(body) = next_record(&mut rest, first)? else {
            return if stream.len() > MAX_HELLO {
                Err(HelloError::TooLong)
            } else {
                Ok(None)
            };
        };
        message.extend_from_slice(body);
        if message[0] != CLIENT_HELLO {
            return Err(HelloError::Malformed);
        }
        let Some([_, high, middle, low]) = message.first_chunk::<MESSAGE_HEAD>() else {
            continue;
        };
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize + MESSAGE_HEAD;
        if length > MAX_HELLO {
            return Err(HelloError::TooLong);
        }
        // Nothing may follow in the same record: the client has nothing more to say yet.
        match message.len().cmp(&length) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some((message, stream.len() - rest.len()))),
            std::cmp::Ordering::Greater => return Err(HelloError::Malformed),
        }
    }
}

/// Takes the body of one record; `None` if it is not whole.
fn next_record<'a>(rest: &mut &'a [u8], first: bool) -> Result<Option<&'a [u8]>, HelloError> {
    let wrong = if first {
        HelloError::NotTls
    } else {
        HelloError::Malformed
    };
    let head = &rest[..rest.len().min(RECORD_HEAD)];
    let begins = [HANDSHAKE, 3];
    if head
        .iter()
        .zip(begins)
        .any(|(byte, expected)| *byte != expected)
    {
        return Err(wrong);
    }
    let Some(&[_, _, minor, high, low]) = rest.first_chunk::<RECORD_HEAD>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if minor > 4 || length == 0 || length > MAX_RECORD {
        return Err(HelloError::Malformed);
    }
    let body = rest.get(RECORD_HEAD..RECORD_HEAD + length);
    if body.is_some() {
        *rest = &rest[RECORD_HEAD + length..];
    }
    Ok(body)
}

fn read(message: &[u8]) -> Option<ClientHello> {
    let mut body = Bytes(message.get(MESSAGE_HEAD..)?);
    body.take(2 + 32)?;
    body.short_list()?;
    body.long_list()?;
    body.short_list()?;
    let mut hello = ClientHello {
        server_name: ServerName::Absent,
        alpn: Vec::new(),
        encrypted: false,
        length: 0,
    };
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.long_list()?;
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long_list()?;
        if seen.contains(&kind) {
            return None;
        }
        seen.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = server_name(content)?,
            ALPN => hello.alpn = protocols(content)?,
            ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME => hello.encrypted = true,
            _ => {}
        }
    }
    body.0.is_empty().then_some(hello)
}

/// Exactly one name, and of the one kind that there is.
fn server_name(mut content: Bytes<'_>) -> Option<ServerName> {
    let mut names = content.long_list()?;
    let kind = names.take(1)?;
    let name = names.long_list()?;
    if kind != [0] || !names.0.is_empty() || !content.0.is_empty() {
        return None;
    }
    // RFC 6066 has no last dot.
    let name = std::str::from_utf8(name.0)
        .ok()
        .filter(|name| !name.ends_with('.'));
    let name = name.and_then(|name| Hostname::parse(name).ok());
    Some(name.map_or(ServerName::Invalid, ServerName::Name))
}

fn protocols(mut content: Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = content.long_list()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.short_list()?.0;
        protocols.push((!name.is_empty()).then(|| name.to_vec())?);
    }
    content.0.is_empty().then_some(protocols)
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// What a length of one byte stands before.
    fn short_list(&mut self) -> Option<Self> {
        let count = usize::from(*self.take(1)?.first()?);
        self.take(count).map(Self)
    }

    /// What a length of two bytes stands before.
    fn long_list(&mut self) -> Option<Self> {
        let count = usize::from(self.number()?);
        self.take(count).map(Self)
    }
}

#[cfg(test)]
mod tests;
