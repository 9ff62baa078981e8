//! Compression of archives: none, gzip or zstd.

use super::problem::{invalid, Result};
use super::zstd;
use flate2::write::{GzEncoder, MultiGzDecoder};
use flate2::Compression;
use std::io::{self, Write};

/// How much is compressed at once, in bytes.
const PIECE: usize = 1024 * 1024;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    None,
    Gzip,
    Zstd,
}

impl Coding {
    /// Reads the word for one.
    ///
    /// # Errors
    /// `invalid_request` for another word.
    pub(super) fn parse(word: &str) -> Result<Self> {
        match word {
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(invalid(format!(
                "compression is zstd, gzip or none, not '{word}'"
            ))),
        }
    }

    /// What an archive that begins with `bytes` is compressed with.
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [_, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Compresses what is written to it.
pub(super) enum Encoder {
    None,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Vec<u8>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::None => Self::None,
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::fast()))),
            Coding::Zstd => Self::Zstd(Vec::new()),
        }
    }

    /// Takes `plain` and appends to `out` what comes of it so far.
    ///
    /// # Errors
    /// None in practice: it all happens in memory.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => out.extend_from_slice(plain),
            Self::Gzip(encoder) => {
                encoder.write_all(plain)?;
                out.append(encoder.get_mut());
            }
            Self::Zstd(piece) => {
                piece.extend_from_slice(plain);
                if piece.len() >= PIECE {
                    out.append(&mut zstd::compress(piece));
                    piece.clear();
                }
            }
        }
        Ok(())
    }

    /// Appends the rest.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match std::mem::replace(self, Self::None) {
            Self::None => {}
            Self::Gzip(encoder) => out.append(&mut encoder.finish()?),
            Self::Zstd(piece) if piece.is_empty() => {}
            Self::Zstd(piece) => out.append(&mut zstd::compress(&piece)),
        }
        Ok(())
    }
}

/// Expands what is fed to it into `W`.
pub(super) enum Decoder<W: Write> {
    /// Nothing has come, or too little to tell.
    Unknown(W, Vec<u8>),
    None(W),
    Gzip(Box<MultiGzDecoder<W>>),
    Zstd(Box<zstd::Decoder>, W),
    Broken,
}

/// So many bytes tell the coding.
const TELLING: usize = 4;

impl<W: Write> Decoder<W> {
    /// Begins; without a `coding` the first bytes tell it.
    pub(super) fn new(coding: Option<Coding>, sink: W) -> Self {
        match coding {
            None => Self::Unknown(sink, Vec::new()),
            Some(Coding::None) => Self::None(sink),
            Some(Coding::Gzip) => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Some(Coding::Zstd) => Self::Zstd(Box::default(), sink),
        }
    }

    /// Expands `bytes`.
    ///
    /// # Errors
    /// `InvalidData` or `InvalidInput` for what is not so compressed, and those of the sink.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Self::Unknown(_, first) = self {
            first.extend_from_slice(bytes);
            return if first.len() < TELLING {
                Ok(())
            } else {
                self.decide()
            };
        }
        match self {
            Self::None(sink) => sink.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Zstd(decoder, sink) => decoder.feed(bytes, sink),
            Self::Unknown(..) | Self::Broken => Ok(()),
        }
    }

    fn decide(&mut self) -> io::Result<()> {
        if let Self::Unknown(sink, first) = std::mem::replace(self, Self::Broken) {
            *self = Self::new(Some(Coding::of(&first)), sink);
            return self.feed(&first);
        }
        Ok(())
    }

    /// Says that there is no more, and gives the sink back.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.decide_late()?;
        match self {
            Self::None(sink) | Self::Unknown(sink, _) => Ok(sink),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zstd(decoder, sink) => decoder.finish().map(|()| sink),
            Self::Broken => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn decide_late(&mut self) -> io::Result<()> {
        match self {
            Self::Unknown(..) => self.decide(),
            _ => Ok(()),
        }
    }

    /// What it is expanded into, while it is not broken.
    pub(super) fn sink(&mut self) -> Option<&mut W> {
        match self {
            Self::None(sink) | Self::Unknown(sink, _) | Self::Zstd(_, sink) => Some(sink),
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Broken => None,
        }
    }
}
