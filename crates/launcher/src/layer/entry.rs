//! Entries of a tar with their extension headers applied. The tar crate would read extension
//! headers of any size into memory; here each is bounded, since the archive may be hostile.

use super::store::LayerError;
use std::collections::BTreeMap;
use std::io::Read;
use tar::{Entry, EntryType};

/// The longest extension header, in bytes: paths and extended attributes fit many times.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// Owners inside a sandbox are 0 to 65,535.
const LAST_OWNER: u64 = 65_535;
const XATTR: &str = "SCHILY.xattr.";

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        size: u64,
    },
    Directory,
    Link {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    Fifo,
    /// Devices: images hold some in /dev, which is covered anyway.
    Skipped,
}

/// One entry.
pub(super) struct Unpacked<'a, R: Read> {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(super) modified: (i64, u32),
    pub(super) attributes: Vec<(String, Vec<u8>)>,
    pub(super) content: Entry<'a, R>,
}

/// Reads a raw tar.
pub(super) struct Entries<'a, R: Read> {
    raw: tar::Entries<'a, R>,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<String, Vec<u8>>,
}

impl<'a, R: Read> Entries<'a, R> {
    pub(super) fn new(raw: tar::Entries<'a, R>) -> Self {
        Self { raw }
    }

    /// The next entry, or `None` at the end.
    pub(super) fn next_entry(&mut self) -> Result<Option<Unpacked<'a, R>>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(entry) = self.raw.next() else {
                return Ok(None);
            };
            let mut entry = entry?;
            refuse_large_size(&entry)?;
            match entry.header().entry_type() {
                EntryType::XHeader => parse_pax(&read(&mut entry)?, &mut extensions.pax)?,
                // Applies to all that follows; written by git archive as a comment only.
                EntryType::XGlobalHeader => drop(read(&mut entry)?),
                EntryType::GNULongName => extensions.path = Some(until_zero(read(&mut entry)?)),
                EntryType::GNULongLink => extensions.link = Some(until_zero(read(&mut entry)?)),
                _ => return extensions.apply(entry).map(Some),
            }
        }
    }
}

/// The tar crate reads the last eight bytes of a binary size and lets those before them pass: what
/// it takes for 0 another reader takes for more than any disk holds.
fn refuse_large_size(entry: &Entry<'_, impl Read>) -> Result<(), LayerError> {
    let size = &entry.header().as_old().size;
    if size[0] & 0x80 != 0 && (size[0] != 0x80 || size[1..4] != [0; 3] || size[4] & 0x80 != 0) {
        let path = entry.header().path_bytes();
        return Err(LayerError::bad(&path, "has a size of more than 63 bits"));
    }
    Ok(())
}

fn read(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, LayerError> {
    if entry.size() > LONGEST_EXTENSION {
        return Err(LayerError::Bad(format!(
            "an extension header has {} bytes, above {LONGEST_EXTENSION}",
            entry.size()
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Records of the form `length key=value\n`, the length in decimal and counting itself.
fn parse_pax(mut bytes: &[u8], into: &mut BTreeMap<String, Vec<u8>>) -> Result<(), LayerError> {
    let bad = || LayerError::Bad("a pax header is malformed".to_owned());
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length = std::str::from_utf8(&bytes[..blank]).ok();
        let length: usize = length.and_then(|l| l.parse().ok()).ok_or_else(bad)?;
        let record = bytes.get(blank + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| bad())?;
        into.insert(key.to_owned(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(())
}

impl Extensions {
    fn apply<R: Read>(self, entry: Entry<'_, R>) -> Result<Unpacked<'_, R>, LayerError> {
        let header = entry.header();
        let pax = |key: &str| self.pax.get(key).cloned();
        let path = pax("path").or(self.path.clone());
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        if self.pax.keys().any(|key| key.starts_with("GNU.sparse.")) {
            return Err(LayerError::bad(
                &path,
                "is sparse in pax form, which is not read",
            ));
        }
        let size = match self.number("size")? {
            // The tar crate has taken the header's size to find the next entry.
            Some(size) if size != entry.size() => {
                return Err(LayerError::bad(&path, "has two sizes"));
            }
            _ => entry.size(),
        };
        let link = || {
            let target = pax("linkpath").or(self.link.clone());
            target.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File { size },
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Link {
                target: link().unwrap_or_default(),
            },
            EntryType::Link => Kind::HardLink {
                target: link().unwrap_or_default(),
            },
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Skipped,
            EntryType::GNUSparse => {
                return Err(LayerError::bad(
                    &path,
                    "is sparse in the form of GNU tar, which is not read",
                ));
            }
            other => {
                let what = format!("is of type {:#04x}, which no layer has", other.as_byte());
                return Err(LayerError::bad(&path, &what));
            }
        };
        let uid = self.number("uid")?.map_or_else(|| header.uid(), Ok)?;
        let gid = self.number("gid")?.map_or_else(|| header.gid(), Ok)?;
        if uid > LAST_OWNER || gid > LAST_OWNER {
            let what = format!("belongs to {uid}:{gid}, above {LAST_OWNER}");
            return Err(LayerError::bad(&path, &what));
        }
        let modified = self.pax.get("mtime").and_then(|text| parse_time(text));
        Ok(Unpacked {
            kind,
            mode: header.mode()? & 0o7777,
            uid: u32::try_from(uid).unwrap_or(0),
            gid: u32::try_from(gid).unwrap_or(0),
            modified: modified.unwrap_or((header.mtime()?.try_into().unwrap_or(0), 0)),
            attributes: self.attributes(),
            path,
            content: entry,
        })
    }

    fn number(&self, key: &str) -> Result<Option<u64>, LayerError> {
        let Some(value) = self.pax.get(key) else {
            return Ok(None);
        };
        let number = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let bad = || LayerError::Bad(format!("pax {key} is no number"));
        number.ok_or_else(bad).map(Some)
    }

    /// Of extended attributes only file capabilities and the users' own: the others speak to the
    /// host (`trusted.overlay.*` would steer the overlay itself).
    fn attributes(&self) -> Vec<(String, Vec<u8>)> {
        let named = self.pax.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(XATTR)?;
            let kept = name == "security.capability"
                || (name.starts_with("user.") && !name.starts_with("user.overlay."));
            kept.then(|| (name.to_owned(), value.clone()))
        });
        named.collect()
    }
}

/// Decimal seconds, maybe negative, maybe with a fraction.
fn parse_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_pax_records() {
        let mut found = BTreeMap::new();
        parse_pax(b"12 path=a/b\n20 mtime=1350244992.5\n", &mut found).unwrap_err();
        found.clear();
        parse_pax(b"12 path=a/b\n12 uid=65536\n", &mut found).unwrap_err();
        found.clear();
        parse_pax(b"12 path=a/b\n13 uid=65536\n", &mut found).unwrap();
        assert_eq!(found["path"], b"a/b");
        assert_eq!(found["uid"], b"65536");
    }

    #[test]
    fn reads_times() {
        assert_eq!(parse_time(b"10"), Some((10, 0)));
        assert_eq!(parse_time(b"10.5"), Some((10, 500_000_000)));
        assert_eq!(parse_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time(b"x"), None);
    }

    proptest! {
        #[test]
        fn noise_is_refused_not_crashed_on(noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_pax(&noise, &mut BTreeMap::new());
            let _ = parse_time(&noise);
        }
    }
}
