//! Where the data of a file with holes lies. Written and read in GNU's pax form 1.0, whose map
//! stands in front of the data; the older forms are refused by name.

use super::{TarError, BLOCK};

/// The most pieces a map may have.
pub const MOST_PIECES: usize = 65_536;

/// A piece of data: where it begins and its length, in bytes.
pub type Piece = (u64, u64);

/// The map as it stands in an archive, padded to whole blocks.
#[must_use]
pub fn write(pieces: &[Piece]) -> Vec<u8> {
    let mut map = format!("{}\n", pieces.len()).into_bytes();
    for (offset, length) in pieces {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Takes a map apart as its blocks come.
#[derive(Debug, Default)]
pub struct MapReader {
    bytes: Vec<u8>,
}

/// The longest map, in bytes: two numbers of 20 digits for each piece.
const LONGEST: usize = MOST_PIECES * 42 + 32;

impl MapReader {
    /// Takes one block; gives the pieces once the map is whole.
    ///
    /// # Errors
    /// [`TarError::Sparse`] for a map that is too long, overlaps, or leads behind `size`.
    pub fn feed(
        &mut self,
        block: &[u8],
        path: &[u8],
        size: u64,
    ) -> Result<Option<Vec<Piece>>, TarError> {
        let wrong = || TarError::Sparse(String::from_utf8_lossy(path).into_owned());
        self.bytes.extend_from_slice(block);
        if self.bytes.len() > LONGEST.next_multiple_of(BLOCK) {
            return Err(wrong());
        }
        let mut numbers = self.bytes.split(|&b| b == b'\n');
        // What stands behind the last line end is not whole.
        let whole = self.bytes.iter().filter(|&&b| b == b'\n').count();
        let Some(count) = numbers.next().filter(|_| whole > 0) else {
            return if self.bytes.len() > BLOCK {
                Err(wrong())
            } else {
                Ok(None)
            };
        };
        let count = decimal(count)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(wrong)?;
        if count > MOST_PIECES {
            return Err(wrong());
        }
        if whole < 1 + 2 * count {
            return Ok(None);
        }
        let mut pieces = Vec::with_capacity(count);
        let mut end = 0u64;
        for _ in 0..count {
            let offset = numbers.next().and_then(decimal).ok_or_else(wrong)?;
            let length = numbers.next().and_then(decimal).ok_or_else(wrong)?;
            let behind = offset.checked_add(length).filter(|&b| b <= size);
            if offset < end {
                return Err(wrong());
            }
            end = behind.ok_or_else(wrong)?;
            pieces.push((offset, length));
        }
        Ok(Some(pieces))
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn maps_come_back(steps in prop::collection::vec((0u64..1_000_000, 0u64..1_000_000), 0..200)) {
            let mut end = 0;
            let mut pieces = Vec::new();
            for (gap, length) in steps {
                pieces.push((end + gap, length));
                end += gap + length;
            }
            let mut reader = MapReader::default();
            let written = write(&pieces);
            let mut found = None;
            for block in written.chunks(BLOCK) {
                prop_assert!(found.is_none());
                found = reader.feed(block, b"x", end).unwrap();
            }
            prop_assert_eq!(found, Some(pieces));
        }

        #[test]
        fn noise_is_refused_not_crashed_on(noise in "[0-9\n]{0,600}") {
            let mut reader = MapReader::default();
            for block in noise.as_bytes().chunks(BLOCK) {
                if reader.feed(block, b"x", 1 << 40).is_err() {
                    break;
                }
            }
        }
    }
}
