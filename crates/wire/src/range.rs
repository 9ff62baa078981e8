//! The `Range` header (RFC 9110 section 14): one range of bytes.

/// What to send of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// From `start` up to but not including `end`.
    Part { start: u64, end: u64 },
    /// The range lies outside the file: status 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. As the RFC allows, a header that is
/// malformed or asks for several ranges is ignored and the whole file sent.
#[must_use]
pub fn select(header: Option<&str>, size: u64) -> Selection {
    let spec = header.and_then(|h| h.trim().strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|s| s.trim().split_once('-')) else {
        return Selection::Whole;
    };
    match (number(first), number(last)) {
        (Some(start), Some(last)) if last < start => Selection::Whole,
        (Some(start), _) if !last.is_empty() && number(last).is_none() => {
            let _ = start;
            Selection::Whole
        }
        (Some(start), _) if start >= size => Selection::Unsatisfiable,
        (Some(start), Some(last)) => Selection::Part {
            start,
            end: last.saturating_add(1).min(size),
        },
        (Some(start), None) => Selection::Part { start, end: size },
        (None, Some(0)) if first.is_empty() => Selection::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Selection::Unsatisfiable,
        (None, Some(count)) if first.is_empty() => Selection::Part {
            start: size.saturating_sub(count),
            end: size,
        },
        _ => Selection::Whole,
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        let part = |start, end| Selection::Part { start, end };
        for (header, expected) in [
            ("bytes=0-4", part(0, 5)),
            ("bytes=5-", part(5, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=0-99999999999999999999999", part(0, 10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=4-2", Selection::Whole),
            ("bytes=1-x", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("bytes=-", Selection::Whole),
        ] {
            assert_eq!(select(Some(header), 10), expected, "{header}");
        }
        assert_eq!(select(Some("bytes=0-"), 0), Selection::Unsatisfiable);
        assert_eq!(select(None, 10), Selection::Whole);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0u64..2000) {
            if let Selection::Part { start, end } = select(Some(&header), size) {
                prop_assert!(start < end && end <= size);
            }
        }
    }
}
