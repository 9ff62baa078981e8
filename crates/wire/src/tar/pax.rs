//! Extended headers: records of the form `length key=value\n`.

use super::TarError;
use std::collections::BTreeMap;

/// Reads all records.
///
/// # Errors
/// [`TarError::Pax`].
pub fn parse(mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|b| *b == b' ').ok_or(TarError::Pax)?;
        let length = std::str::from_utf8(&bytes[..blank]).ok();
        let length: usize = length.and_then(|l| l.parse().ok()).ok_or(TarError::Pax)?;
        let record = bytes.get(blank + 1..length).ok_or(TarError::Pax)?;
        let record = record.strip_suffix(b"\n").ok_or(TarError::Pax)?;
        let equals = record
            .iter()
            .position(|b| *b == b'=')
            .ok_or(TarError::Pax)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| TarError::Pax)?;
        records.insert(key.to_owned(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// Appends one record.
pub fn write(into: &mut Vec<u8>, key: &str, value: &[u8]) {
    // Blank, equals sign and line end.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(format!("{length} {key}=").as_bytes());
    into.extend_from_slice(value);
    into.push(b'\n');
}

/// Decimal seconds, maybe negative, maybe with a fraction.
#[must_use]
pub fn parse_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits = fraction.chars().chain("000000000".chars());
    let nanoseconds: u32 = digits.take(9).collect::<String>().parse().ok()?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// The same, written.
#[must_use]
pub fn time((seconds, nanoseconds): (i64, u32)) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    if seconds < 0 {
        let whole = seconds.saturating_add(1);
        let sign = if whole == 0 { "-" } else { "" };
        return format!(
            "{sign}{whole}.{:09}",
            1_000_000_000 - nanoseconds.min(999_999_999)
        );
    }
    format!("{seconds}.{:09}", nanoseconds.min(999_999_999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back(key in "[a-zA-Z.]{1,40}", value in prop::collection::vec(any::<u8>(), 0..1200)) {
            let mut bytes = Vec::new();
            write(&mut bytes, &key, &value);
            write(&mut bytes, "other", b"x");
            let records = parse(&bytes).unwrap();
            prop_assert_eq!(&records[&key], &value);
        }

        #[test]
        fn times_come_back(seconds in -10_000_000_000i64..10_000_000_000, nanoseconds in 0u32..1_000_000_000) {
            let written = time((seconds, nanoseconds));
            prop_assert_eq!(parse_time(written.as_bytes()), Some((seconds, nanoseconds)), "{}", written);
        }

        #[test]
        fn noise_is_refused_not_crashed_on(noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&noise);
            let _ = parse_time(&noise);
        }
    }
}
