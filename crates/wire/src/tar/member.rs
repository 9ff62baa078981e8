//! One member of an archive.

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    Fifo,
    /// Devices and whatever else there is.
    Other,
}

/// A file, directory or link in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As it stands in the archive.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub owner: String,
    pub group: String,
    /// Seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// Of the content, in bytes.
    pub size: u64,
}

/// The parts of a member's path below the place it is unpacked in.
///
/// # Errors
/// Says why it can't be used: it is absolute, leads upwards, or holds a NUL or an overlong part.
pub fn parts(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.starts_with(b"/") {
        return Err("it is absolute");
    }
    if path.contains(&0) {
        return Err("it holds a NUL");
    }
    let parts = path.split(|&b| b == b'/');
    let parts: Vec<&[u8]> = parts.filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err("it leads upwards");
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err("a part of it is longer than 255 bytes");
    }
    Ok(parts)
}

/// Whether a link at `place` (the parts of its path) that says `target` stays inside: `..` may
/// only come first and not too often. After a name it would lead up from wherever that name,
/// itself perhaps a link, leads.
#[must_use]
pub fn stays_inside(place: &[&[u8]], target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let parts = target.split(|&b| b == b'/');
    let parts: Vec<&[u8]> = parts.filter(|p| !p.is_empty() && *p != b".").collect();
    let ups = parts.iter().take_while(|p| **p == b"..").count();
    !parts.iter().skip(ups).any(|p| *p == b"..") && ups < place.len().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_none() {
        assert_eq!(parts(b"./a//b/").unwrap(), [b"a", b"b"]);
        assert!(parts(b"").unwrap().is_empty());
        for path in [&b"/a"[..], b"..", b"a/../b", b"../a", b"a/..", b"a\0b"] {
            assert!(parts(path).is_err());
        }
        assert!(parts(&[b'n'; 256]).is_err());
    }

    #[test]
    fn links_that_may_lead_out_are_told_from_others() {
        let at = |place: &str, target: &str| {
            let place: Vec<&[u8]> = place.split('/').map(str::as_bytes).collect();
            stays_inside(&place, target.as_bytes())
        };
        assert!(at("a", "b") && at("a", "./b/c") && at("d/a", "../b") && at("d/e/a", "../../b"));
        for (place, target) in [
            ("a", ".."),
            ("a", "/etc"),
            ("d/a", "../../x"),
            ("d/a", "x/../../.."),
            ("a", "x/.."),
            ("a", ""),
        ] {
            assert!(!at(place, target), "{place} -> {target}");
        }
    }
}
