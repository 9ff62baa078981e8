//! Bodies in signed chunks (`Content-Encoding: aws-chunked`), each signed anew as it goes by.
//!
//! Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
//! Chunks", and "Signature calculations for trailing headers", in the S3 API reference.

use super::super::CredentialError;
use super::key::SigningKey;
use bytes::{Bytes, BytesMut};

/// What `x-amz-content-sha256` says of such bodies.
pub(super) const PAYLOAD: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
pub(super) const PAYLOAD_AND_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// A chunk's signature stands before its data, so each chunk must be read whole. Clients send 64
/// to 128 KiB.
const MAX_CHUNK: usize = 1024 * 1024;
/// The longest first line of a chunk, in bytes: size, `;chunk-signature=` and 64 digits.
const MAX_HEAD: usize = 128;
const MAX_TRAILER: usize = 16 * 1024;
const EXTENSION: &[u8] = b";chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature";
const DIGITS: usize = 64;

/// Replaces the signatures of chunks; nothing becomes longer or shorter.
pub(crate) struct Resigner {
    key: SigningKey,
    /// The signature that the next one builds upon.
    previous: String,
    trailer: bool,
    stage: Stage,
    /// What has come of the piece that is not whole yet.
    waiting: BytesMut,
    /// The trailer's lines so far, as they are signed.
    lines: Vec<u8>,
    /// Whether a line of the trailer has come.
    began: bool,
    /// How many bytes came after the end.
    line_ends: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Chunk,
    Trailer,
    /// Nothing but line ends may follow.
    End,
}

impl Resigner {
    pub(super) fn new(key: SigningKey, seed: String, trailer: bool) -> Self {
        Self {
            key,
            previous: seed,
            trailer,
            stage: Stage::Chunk,
            waiting: BytesMut::new(),
            lines: Vec::new(),
            began: false,
            line_ends: 0,
        }
    }

    /// How many bytes came and did not go on yet.
    pub(in super::super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes what has come, and gives what can go on.
    ///
    /// # Errors
    /// The framing is malformed, or a chunk is larger than 1 MiB.
    pub(in super::super) fn push(&mut self, data: &[u8]) -> Result<Bytes, CredentialError> {
        self.waiting.extend_from_slice(data);
        let mut ready = BytesMut::new();
        while let Some(piece) = self.next()? {
            ready.unsplit(piece);
        }
        Ok(ready.freeze())
    }

    /// Says whether the body may end here.
    ///
    /// # Errors
    /// It broke off.
    pub(in super::super) fn finish(&self) -> Result<(), CredentialError> {
        if self.stage == Stage::End && self.waiting.is_empty() {
            return Ok(());
        }
        Err(CredentialError::Chunks("the body ends too early"))
    }

    fn next(&mut self) -> Result<Option<BytesMut>, CredentialError> {
        match self.stage {
            _ if self.waiting.is_empty() => Ok(None),
            Stage::Chunk => self.chunk(),
            Stage::Trailer => self.line(),
            Stage::End if self.waiting.iter().all(|byte| b"\r\n".contains(byte)) => {
                // The last line ends of a trailer; some clients write one more, some one less.
                self.line_ends += self.waiting.len();
                if self.line_ends > 4 {
                    return Err(CredentialError::Chunks("something follows its end"));
                }
                Ok(Some(self.waiting.split()))
            }
            Stage::End => Err(CredentialError::Chunks("something follows its end")),
        }
    }

    fn chunk(&mut self) -> Result<Option<BytesMut>, CredentialError> {
        let Some(line) = line_end(&self.waiting, MAX_HEAD)? else {
            return Ok(None);
        };
        let (size, at) = self.size_and_place(line)?;
        let start = line + 2;
        // The data of the last chunk, of which there is none, may be followed by a trailer.
        let end = if size == 0 && self.trailer {
            start
        } else {
            start + size + 2
        };
        if self.waiting.len() < end {
            self.waiting.reserve(end - self.waiting.len());
            return Ok(None);
        }
        let mut piece = self.waiting.split_to(end);
        let data = piece.get(start..start + size).unwrap_or_default();
        let signature = self.key.chunk(&self.previous, data);
        if end > start && !piece.ends_with(b"\r\n") {
            return Err(CredentialError::Chunks(
                "a chunk is not of the size it says",
            ));
        }
        replace(&mut piece, at, &signature);
        self.previous = signature;
        if size == 0 {
            self.stage = if self.trailer {
                Stage::Trailer
            } else {
                Stage::End
            };
        }
        Ok(Some(piece))
    }

    /// Reads `size;chunk-signature=…`; the second number is where the signature begins.
    fn size_and_place(&self, end: usize) -> Result<(usize, usize), CredentialError> {
        let malformed = CredentialError::Chunks("a chunk does not begin with size and signature");
        let line = self.waiting.get(..end).unwrap_or_default();
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (number, rest) = line.split_at(digits);
        let signature = rest.strip_prefix(EXTENSION).unwrap_or_default();
        if signature.len() != DIGITS || !signature.iter().all(u8::is_ascii_hexdigit) {
            return Err(malformed);
        }
        let number = std::str::from_utf8(number).ok();
        let size = number.and_then(|number| usize::from_str_radix(number, 16).ok());
        match size.ok_or(malformed)? {
            size if size > MAX_CHUNK => Err(CredentialError::Chunks("a chunk has more than 1 MiB")),
            size => Ok((size, end - DIGITS)),
        }
    }

    fn line(&mut self) -> Result<Option<BytesMut>, CredentialError> {
        let Some(end) = line_end(&self.waiting, MAX_TRAILER)? else {
            return Ok(None);
        };
        let mut piece = self.waiting.split_to(end + 2);
        let line = piece.get(..end).unwrap_or_default();
        // Some clients end the last chunk as if it had data.
        if line.is_empty() && !std::mem::replace(&mut self.began, true) {
            return Ok(Some(piece));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or(CredentialError::Chunks("a trailer line has no colon"))?;
        let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..));
        let value = value.unwrap_or_default();
        if !name.eq_ignore_ascii_case(TRAILER_SIGNATURE) {
            let (name, value) = (name.to_ascii_lowercase(), value.trim_ascii());
            keep(&mut self.lines, &name, value)?;
            self.began = true;
            return Ok(Some(piece));
        }
        let digits = value.trim_ascii();
        if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(CredentialError::Chunks(
                "the trailer's signature is malformed",
            ));
        }
        let at = end - value.trim_ascii_start().len();
        let signature = self.key.trailer(&self.previous, &self.lines);
        replace(&mut piece, at, &signature);
        self.stage = Stage::End;
        Ok(Some(piece))
    }
}

fn keep(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), CredentialError> {
    lines.extend_from_slice(name);
    lines.push(b':');
    lines.extend_from_slice(value);
    lines.push(b'\n');
    if lines.len() > MAX_TRAILER {
        return Err(CredentialError::Chunks("its trailer has more than 16 KiB"));
    }
    Ok(())
}

/// Where the first line ends, without its line end; `None` if it has not come whole.
fn line_end(bytes: &[u8], limit: usize) -> Result<Option<usize>, CredentialError> {
    let seen = bytes.get(..bytes.len().min(limit)).unwrap_or_default();
    let end = seen.windows(2).position(|pair| pair == b"\r\n");
    if end.is_none() && bytes.len() >= limit {
        return Err(CredentialError::Chunks("a line is too long"));
    }
    Ok(end)
}

fn replace(piece: &mut BytesMut, at: usize, signature: &str) {
    if let Some(place) = piece.get_mut(at..at + DIGITS) {
        place.copy_from_slice(signature.as_bytes());
    }
}
