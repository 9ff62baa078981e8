//! The header of a Zstandard frame (RFC 8878 section 3.1.1.1): what a decoder will need is known
//! before it is given.

/// What stands at the beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// More bytes are needed to say.
    Partial,
    /// To be skipped: so many bytes behind the header.
    Skippable { size: usize, content: u64 },
    /// A frame of data.
    Frame {
        /// Of the header, in bytes.
        size: usize,
        /// How much of what is decoded must be kept, in bytes.
        window: u64,
        /// Whether four bytes of checksum follow the last block.
        checksum: bool,
    },
}

/// The bytes do not begin a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Zstandard frame")]
pub struct NotAFrame;

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// [`NotAFrame`].
pub fn header(bytes: &[u8]) -> Result<Header, NotAFrame> {
    let Some(magic) = little_endian(bytes.get(..4)) else {
        return Ok(Header::Partial);
    };
    if magic & !0xf == u64::from(SKIPPABLE) {
        let content = little_endian(bytes.get(4..8));
        return Ok(
            content.map_or(Header::Partial, |content| Header::Skippable {
                size: 8,
                content,
            }),
        );
    }
    if magic != u64::from(MAGIC) {
        return Err(NotAFrame);
    }
    let Some(&descriptor) = bytes.get(4) else {
        return Ok(Header::Partial);
    };
    let single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return Err(NotAFrame);
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let window_at = 5;
    let content_at = window_at + usize::from(!single_segment) + dictionary;
    let size = content_at + content;
    if bytes.len() < size {
        return Ok(Header::Partial);
    }
    let window = if single_segment {
        let offset = if content == 2 { 256 } else { 0 };
        little_endian(bytes.get(content_at..size))
            .unwrap_or(0)
            .saturating_add(offset)
    } else {
        let byte = bytes.get(window_at).copied().unwrap_or(0);
        let base = 1u64 << (10 + (byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    };
    Ok(Header::Frame {
        size,
        window,
        checksum: descriptor & 0x04 != 0,
    })
}

fn little_endian(bytes: Option<&[u8]>) -> Option<u64> {
    let bytes = bytes?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_as_the_rfc_has_them() {
        let frame = |size, window, checksum| {
            Ok(Header::Frame {
                size,
                window,
                checksum,
            })
        };
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let with = |rest: &[u8]| header(&[&magic[..], rest].concat());
        assert_eq!(with(&[0x04, 0x58]), frame(6, 2 << 20, true));
        assert_eq!(with(&[0x20, 0x07]), frame(6, 7, false));
        assert_eq!(with(&[0x60, 0x00, 0x01]), frame(7, 512, false));
        assert_eq!(with(&[0x00, 0xf8]), frame(6, 1 << 41, false));
        assert_eq!(with(&[0x00]), Ok(Header::Partial));
        assert_eq!(header(&[0x28]), Ok(Header::Partial));
        assert_eq!(header(&[0; 9]), Err(NotAFrame));
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 5, 1, 0, 0];
        assert_eq!(
            header(&skippable),
            Ok(Header::Skippable {
                size: 8,
                content: 261
            })
        );
    }

    proptest! {
        #[test]
        fn noise_never_panics(mut noise in prop::collection::vec(any::<u8>(), 4..30)) {
            noise[..4].copy_from_slice(&[0x28, 0xb5, 0x2f, 0xfd]);
            let _ = header(&noise);
        }
    }
}
