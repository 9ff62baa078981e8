//! Names that people give: of sandboxes, and of what is inside one.

/// Whether `name` has the form `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(|&b| plain(b))
        && bytes.last().is_some_and(|&b| plain(b))
        && bytes.iter().all(|&b| plain(b) || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names() {
        let long = "a".repeat(63);
        for good in ["a", "0", "a-b", "web--2", &long] {
            assert!(is_valid(good), "{good}");
        }
        let longer = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "ä", "a\n", &longer] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
