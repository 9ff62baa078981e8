//! Zstandard, as bytes come. What is compressed here is a frame for each piece, which any decoder
//! reads as one stream (RFC 8878 section 3.1).

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{compress_to_vec, CompressionLevel};
use std::io::{self, Write};
use wardian_wire::zstd_frame::{header, Header};

/// The largest window that is held, in bytes: what every encoder stays within unless told to take
/// more (RFC 8878 section 3.1.1.1.2).
const LARGEST_WINDOW: u64 = 8 * 1024 * 1024;
const BLOCK_HEADER: usize = 3;
const LARGEST_BLOCK: usize = 128 * 1024;
const CHECKSUM: usize = 4;

/// One piece as a frame.
pub(super) fn compress(piece: &[u8]) -> Vec<u8> {
    compress_to_vec(piece, CompressionLevel::Fastest)
}

/// A stream of frames being taken apart.
#[derive(Default)]
pub(super) struct Decoder {
    /// What has come and is not decoded: less than a block.
    pending: Vec<u8>,
    frame: Option<Frame>,
    /// How much of a skippable frame is still to come.
    skip: u64,
}

struct Frame {
    decoder: FrameDecoder,
    checksum: bool,
}

fn malformed(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is no zstd: {error}"),
    )
}

impl Decoder {
    /// Decodes `bytes` and writes what they hold to `sink`.
    ///
    /// # Errors
    /// `InvalidData` for what is not zstd or needs too large a window, and those of `sink`.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl Write) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some(taken) = self.take(rest, sink)? {
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    /// Says that there is no more.
    ///
    /// # Errors
    /// `UnexpectedEof` in the middle of a frame.
    pub(super) fn finish(&self) -> io::Result<()> {
        if self.pending.is_empty() && self.frame.is_none() && self.skip == 0 {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the zstd stream is cut off",
            ))
        }
    }

    /// Takes one header or block, once it is there whole.
    fn take(&mut self, rest: &[u8], sink: &mut impl Write) -> io::Result<Option<usize>> {
        if rest.is_empty() {
            return Ok(None);
        }
        if self.skip > 0 {
            let taken = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            self.skip -= taken as u64;
            return Ok(Some(taken));
        }
        match &mut self.frame {
            None => self.header(rest),
            Some(frame) => {
                let Some((taken, last)) = frame.block(rest, sink)? else {
                    return Ok(None);
                };
                if last {
                    self.frame = None;
                }
                Ok(Some(taken))
            }
        }
    }

    fn header(&mut self, rest: &[u8]) -> io::Result<Option<usize>> {
        match header(rest).map_err(malformed)? {
            Header::Partial => Ok(None),
            Header::Skippable { size, content } => {
                self.skip = content;
                Ok(Some(size))
            }
            Header::Frame { window, .. } if window > LARGEST_WINDOW => {
                Err(malformed("it needs a window of more than 8 MiB"))
            }
            Header::Frame { size, checksum, .. } => {
                let mut decoder = FrameDecoder::new();
                decoder.reset(rest).map_err(malformed)?;
                self.frame = Some(Frame { decoder, checksum });
                Ok(Some(size))
            }
        }
    }
}

impl Frame {
    /// Decodes a block, if it is there whole: how long it is and whether it is the last.
    fn block(&mut self, rest: &[u8], sink: &mut impl Write) -> io::Result<Option<(usize, bool)>> {
        let Some(header) = rest.get(..BLOCK_HEADER) else {
            return Ok(None);
        };
        let header =
            usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        // A run has one byte, whatever its length.
        let stored = if kind == 1 { 1 } else { size };
        if size > LARGEST_BLOCK {
            return Err(malformed("a block is too large"));
        }
        let checksum = if last && self.checksum { CHECKSUM } else { 0 };
        let length = BLOCK_HEADER + stored + checksum;
        let Some(block) = rest.get(..length) else {
            return Ok(None);
        };
        let strategy = BlockDecodingStrategy::UptoBlocks(1);
        self.decoder
            .decode_blocks(block, strategy)
            .map_err(malformed)?;
        self.decoder.collect_to_writer(sink)?;
        Ok(Some((length, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(step) {
            decoder.feed(piece, &mut out)?;
        }
        decoder.finish().map(|()| out)
    }

    proptest! {
        #[test]
        fn pieces_come_back(
            pieces in prop::collection::vec(prop::collection::vec(0u8..4, 0..9000), 0..5),
            step in 1usize..5000,
        ) {
            let compressed: Vec<u8> = pieces.iter().flat_map(|p| compress(p)).collect();
            prop_assert_eq!(decode(&compressed, step).unwrap(), pieces.concat());
            if !compressed.is_empty() {
                prop_assert!(decode(&compressed[..compressed.len() - 1], step).is_err());
            }
        }

        #[test]
        fn noise_is_refused(mut noise in prop::collection::vec(any::<u8>(), 4..300)) {
            noise[0] = 0;
            prop_assert!(decode(&noise, 100).is_err());
        }
    }

    #[test]
    fn a_window_that_fills_the_memory_is_refused() {
        // A frame header whose window is 2 GiB.
        let error = decode(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00], 99);
        assert!(error.unwrap_err().to_string().contains("8 MiB"));
    }
}
