//! Entity tags and the conditions made with them (RFC 9110 sections 8.8.3 and 13.1).

/// The tag of a file's content: it changes whenever the kernel has noted a change.
#[must_use]
pub fn of_file(inode: u64, size: u64, modified: (i64, u64), changed: (i64, u64)) -> String {
    format!(
        "\"{inode:x}-{size:x}-{:x}.{:x}-{:x}.{:x}\"",
        modified.0, modified.1, changed.0, changed.1
    )
}

/// Whether an `If-None-Match` or `If-Match` header names `tag`, weakness ignored.
#[must_use]
pub fn names(header: &str, tag: &str) -> bool {
    header.trim() == "*" || header.split(',').any(|one| strong(one.trim()) == tag)
}

/// Whether an `If-Range` header is the strong tag `tag`; a weak one never is.
#[must_use]
pub fn is_range_of(header: &str, tag: &str) -> bool {
    header.trim() == tag
}

fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        let tag = of_file(1, 2, (3, 4), (5, 6));
        assert_eq!(tag, "\"1-2-3.4-5.6\"");
        assert!(names(&tag, &tag));
        assert!(names(&format!("\"x\", W/{tag}"), &tag));
        assert!(names("*", &tag));
        assert!(!names("\"x\"", &tag));
        assert!(is_range_of(&tag, &tag));
        assert!(!is_range_of(&format!("W/{tag}"), &tag));
    }
}
