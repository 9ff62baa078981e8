//! Records of a process's log: `application/vnd.wardian.log`, on the wire as on the disk.
//!
//! A record is a header of [`HEADER`] bytes, big-endian, and its payload:
//! ```text
//! kind u8 │ 0 0 0 │ length u32 │ cursor u64 │ time u64 │ payload (length bytes)
//! ```
//! A cursor counts the bytes of all records before this one, so the next record of a log has
//! the cursor `cursor + HEADER + length`.

/// The size of a record without its payload, in bytes.
pub const HEADER: usize = 24;
/// The longest payload a record may have, in bytes.
pub const MAX_PAYLOAD: usize = 32 * 1024;
/// What answers of records are called.
pub const CONTENT_TYPE: &str = "application/vnd.wardian.log";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes the process wrote to standard output.
    Stdout = 1,
    /// Bytes the process wrote to standard error.
    Stderr = 2,
    /// JSON of a start or an end.
    Mark = 3,
    /// JSON `{"lost": bytes, "next"?: cursor}`: records are missing here.
    Gap = 4,
    /// Nothing; sent in a long silence and never stored.
    Idle = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::Mark),
            4 => Some(Self::Gap),
            5 => Some(Self::Idle),
            _ => None,
        }
    }
}

/// The bytes are no record of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of this log")]
pub struct Malformed;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What its payload is.
    pub kind: Kind,
    /// Bytes of payload.
    pub length: u32,
    /// Where in the log it stands.
    pub cursor: u64,
    /// When it was read, in microseconds since 1970.
    pub time: u64,
}

impl Header {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.length.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cursor.to_be_bytes());
        bytes[16..].copy_from_slice(&self.time.to_be_bytes());
        bytes
    }

    /// Reads what [`Header::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind, padding that is not 0, or a length above
    /// [`MAX_PAYLOAD`].
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, Malformed> {
        let [kind, a, b, c, l0, l1, l2, l3, rest @ ..] = *bytes;
        let [c0, c1, c2, c3, c4, c5, c6, c7, t0, t1, t2, t3, t4, t5, t6, t7] = rest;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if [a, b, c] != [0; 3] || length as usize > MAX_PAYLOAD {
            return Err(Malformed);
        }
        Ok(Self {
            kind: Kind::from_byte(kind).ok_or(Malformed)?,
            length,
            cursor: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            time: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        })
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER + self.length as usize
    }

    /// The cursor of the record behind this one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.cursor.saturating_add(self.size() as u64)
    }
}

/// Adds a record to `out` and returns the cursor behind it. `payload` longer than
/// [`MAX_PAYLOAD`] is cut: who has more makes several records of it.
pub fn append(out: &mut Vec<u8>, kind: Kind, cursor: u64, time: u64, payload: &[u8]) -> u64 {
    let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
    let header = Header {
        kind,
        // At most MAX_PAYLOAD.
        length: payload.len() as u32,
        cursor,
        time,
    };
    out.extend(header.encode());
    out.extend(payload);
    header.next()
}

/// The payload of a gap of `lost` bytes, behind which the log goes on at `next`, where that is
/// not right behind the gap's own record.
#[must_use]
pub fn gap(lost: u64, next: Option<u64>) -> Vec<u8> {
    match next {
        Some(next) => format!("{{\"lost\":{lost},\"next\":{next}}}").into_bytes(),
        None => format!("{{\"lost\":{lost}}}").into_bytes(),
    }
}

/// Goes through the whole records at the start of `bytes`, the first of which must have the
/// cursor `at`. Ends before a record that is not whole, and with [`Malformed`] at what can't be
/// one of this log.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: u64,
    broken: bool,
}

impl<'a> Records<'a> {
    /// See [`Records`].
    #[must_use]
    pub fn new(bytes: &'a [u8], at: u64) -> Self {
        Self {
            bytes,
            at,
            broken: false,
        }
    }

    /// The cursor behind the records that were gone through.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.at
    }

    fn step(&mut self) -> Result<Option<(Header, &'a [u8])>, Malformed> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::decode(head)?;
        if header.cursor != self.at {
            return Err(Malformed);
        }
        let Some((payload, rest)) = rest.split_at_checked(header.length as usize) else {
            return Ok(None);
        };
        self.bytes = rest;
        self.at = header.next();
        Ok(Some((header, payload)))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(Header, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let step = self.step();
        self.broken = step.is_err();
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Stdout),
            Just(Kind::Stderr),
            Just(Kind::Mark),
            Just(Kind::Gap),
            Just(Kind::Idle),
        ]
    }

    fn payloads() -> impl Strategy<Value = Vec<(Kind, u64, Vec<u8>)>> {
        let payload = prop::collection::vec(any::<u8>(), 0..60);
        prop::collection::vec((kinds(), any::<u64>(), payload), 0..8)
    }

    proptest! {
        #[test]
        fn headers_survive(kind in kinds(), length in 0..=MAX_PAYLOAD as u32, cursor: u64, time: u64) {
            let header = Header { kind, length, cursor, time };
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn records_survive_and_an_unfinished_one_is_left(records in payloads(), start in 0..u64::MAX / 2, cut in 0usize..100) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            let mut cursor = start;
            for (kind, time, payload) in &records {
                cursor = append(&mut bytes, *kind, cursor, *time, payload);
                ends.push(bytes.len());
            }
            prop_assert_eq!(cursor - start, bytes.len() as u64);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let whole = ends.iter().filter(|&&end| end <= bytes.len()).count() - 1;
            let mut reader = Records::new(&bytes, start);
            let seen: Vec<_> = reader.by_ref().map(|r| r.unwrap()).collect();
            prop_assert_eq!(seen.len(), whole);
            for ((header, payload), (kind, time, expected)) in seen.iter().zip(&records) {
                prop_assert_eq!((header.kind, header.time, *payload), (*kind, *time, &expected[..]));
            }
            prop_assert_eq!(reader.cursor(), start + ends[whole] as u64);
        }

        #[test]
        fn noise_ends_the_reading(noise in prop::collection::vec(any::<u8>(), 0..200), at: u64) {
            let read = Records::new(&noise, at).filter(Result::is_ok).count();
            prop_assert!(read <= noise.len() / HEADER);
            prop_assert!(Records::new(&noise, at).filter(Result::is_err).count() <= 1);
        }

        #[test]
        fn a_flipped_byte_of_a_head_is_noticed_or_harmless(byte in 0usize..16, flip in 1u8..) {
            let mut bytes = Vec::new();
            append(&mut bytes, Kind::Stdout, 7, 9, b"payload");
            bytes[byte] ^= flip;
            let reading = Records::new(&bytes, 7).next();
            // Another known kind, or a shorter or longer payload, is all that can be.
            if let Some(Ok((header, payload))) = reading {
                prop_assert_eq!(header.cursor, 7);
                prop_assert!(payload.len() <= 7);
            }
        }
    }

    #[test]
    fn a_long_payload_is_cut() {
        let mut bytes = Vec::new();
        let next = append(&mut bytes, Kind::Stdout, 0, 0, &vec![0; MAX_PAYLOAD + 1]);
        assert_eq!(next as usize, HEADER + MAX_PAYLOAD);
        assert_eq!(bytes.len(), HEADER + MAX_PAYLOAD);
    }

    #[test]
    fn gaps_say_what_is_lost() {
        assert_eq!(gap(5, None), b"{\"lost\":5}");
        assert_eq!(gap(5, Some(9)), b"{\"lost\":5,\"next\":9}");
    }
}
