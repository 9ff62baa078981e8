//! The fields of one header block.

use super::{TarError, BLOCK};

/// Where the fields of a header are.
pub(super) const NAME: (usize, usize) = (0, 100);
pub(super) const MODE: (usize, usize) = (100, 108);
pub(super) const UID: (usize, usize) = (108, 116);
pub(super) const GID: (usize, usize) = (116, 124);
pub(super) const SIZE: (usize, usize) = (124, 136);
pub(super) const MTIME: (usize, usize) = (136, 148);
const CHECKSUM: (usize, usize) = (148, 156);
pub(super) const TYPE: usize = 156;
pub(super) const LINK: (usize, usize) = (157, 257);
pub(super) const MAGIC: (usize, usize) = (257, 265);
pub(super) const OWNER: (usize, usize) = (265, 297);
pub(super) const GROUP: (usize, usize) = (297, 329);
pub(super) const PREFIX: (usize, usize) = (345, 500);

/// A header block.
pub type Block = [u8; BLOCK];

/// The bytes of a field up to its first NUL.
pub(super) fn text(block: &Block, (start, end): (usize, usize)) -> &[u8] {
    let field = &block[start..end];
    let length = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..length]
}

/// The number in a field: octal digits, or binary as GNU tar writes large ones. What has more than
/// 63 bits is none: readers disagree about those.
pub(super) fn number(block: &Block, (start, end): (usize, usize)) -> Result<u64, TarError> {
    let field = &block[start..end];
    let wrong = || TarError::Number(String::from_utf8_lossy(text(block, NAME)).into_owned());
    if field[0] & 0x80 != 0 {
        let mut number = Some(0u64).filter(|_| field[0] == 0x80);
        for &byte in &field[1..] {
            number = number.and_then(|n| n.checked_mul(256)?.checked_add(u64::from(byte)));
        }
        return number.filter(|n| n >> 63 == 0).ok_or_else(wrong);
    }
    let field = text(block, (start, end)).trim_ascii();
    if field.is_empty() {
        return Ok(0);
    }
    let digits = std::str::from_utf8(field).ok();
    let number = digits.and_then(|d| u64::from_str_radix(d, 8).ok());
    number.filter(|_| field[0] != b'+').ok_or_else(wrong)
}

/// Whether the checksum is right; as the sum of signed bytes, too, which some have written.
pub(super) fn is_sealed(block: &Block) -> bool {
    let Ok(told) = number(block, CHECKSUM) else {
        return false;
    };
    let (mut unsigned, mut signed) = (0u64, 0i64);
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (CHECKSUM.0..CHECKSUM.1).contains(&at) {
            b' '
        } else {
            byte
        };
        unsigned += u64::from(byte);
        signed += i64::from(i8::from_ne_bytes([byte]));
    }
    told == unsigned || i64::try_from(told) == Ok(signed)
}

/// Makes the checksum right.
pub(super) fn seal(block: &mut Block) {
    block[CHECKSUM.0..CHECKSUM.1].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    put(block, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
}

/// Writes as much of `bytes` as fits.
pub(super) fn put(block: &mut Block, (start, end): (usize, usize), bytes: &[u8]) {
    let length = bytes.len().min(end - start);
    block[start..start + length].copy_from_slice(&bytes[..length]);
}

/// Writes a number in octal; `false` if it has too many digits.
pub(super) fn put_number(block: &mut Block, field: (usize, usize), number: u64) -> bool {
    let digits = field.1 - field.0 - 1;
    let text = format!("{number:0digits$o}");
    let fits = text.len() <= digits;
    put(block, field, if fits { text.as_bytes() } else { b"0" });
    fits
}

/// How many bytes of nothing follow `size` bytes of content.
#[must_use]
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn binary_numbers_have_at_most_63_bits() {
        let mut block = [0; BLOCK];
        block[UID.0..UID.1].copy_from_slice(&[0x80, 1, 0, 0, 0, 0, 0, 2]);
        assert_eq!(number(&block, UID), Ok((1 << 48) + 2));
        block[SIZE.0..SIZE.1].copy_from_slice(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert!(number(&block, SIZE).is_err());
        block[SIZE.0..SIZE.1].fill(0xff);
        assert!(number(&block, SIZE).is_err());
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(field in prop::collection::vec(any::<u8>(), 12)) {
            let mut block = [0; BLOCK];
            block[SIZE.0..SIZE.1].copy_from_slice(&field);
            block[UID.0..UID.1].copy_from_slice(&field[..8]);
            let _ = (number(&block, SIZE), number(&block, UID));
        }
    }
}
