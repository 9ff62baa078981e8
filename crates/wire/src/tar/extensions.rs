//! What extension headers say of the member that follows them, and what the member's own header
//! says where they are silent.

use super::block::{
    number, text, Block, GID, GROUP, LINK, MAGIC, MODE, MTIME, NAME, OWNER, PREFIX, TYPE, UID,
};
use super::member::{Kind, Member};
use super::{pax, TarError};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<String, Vec<u8>>,
}

pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Extensions {
    pub(super) fn add(&mut self, kind: u8, bytes: Vec<u8>) -> Result<(), TarError> {
        let until_zero = |mut bytes: Vec<u8>| {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            bytes.truncate(end);
            Some(bytes)
        };
        match kind {
            b'x' => self.pax.extend(pax::parse(&bytes)?),
            b'L' => self.path = until_zero(bytes),
            b'K' => self.link = until_zero(bytes),
            // For all that follow; git archive writes one, as a comment only.
            _ => {}
        }
        Ok(())
    }

    /// The member, the size of what is stored for it, and whether that begins with a map.
    pub(super) fn apply(self, block: &Block, size: u64) -> Result<(Member, u64, bool), TarError> {
        let pax = |key: &str| self.pax.get(key).cloned();
        let sparse = self.pax.keys().any(|k| k.starts_with("GNU.sparse."));
        let path = pax("GNU.sparse.name").or(pax("path")).or(self.path.clone());
        let path = path.unwrap_or_else(|| name(block));
        let refuse = || TarError::Sparse(shown(&path));
        let is_one = |key, value: &[u8]| self.pax.get(key).is_some_and(|v| v == value);
        let version_one = is_one("GNU.sparse.major", b"1") && is_one("GNU.sparse.minor", b"0");
        if block[TYPE] == b'S' || (sparse && !version_one) {
            return Err(refuse());
        }
        let stored = self.number("size", &path)?.unwrap_or(size);
        let size = match self.number("GNU.sparse.realsize", &path)? {
            Some(real) => real,
            None if sparse => return Err(refuse()),
            None => stored,
        };
        let link = || {
            let target = pax("linkpath").or(self.link.clone());
            target.unwrap_or_else(|| text(block, LINK).to_vec())
        };
        let kind = match block[TYPE] {
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink { target: link() },
            b'2' => Kind::Symlink { target: link() },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => Kind::Other,
        };
        if sparse && kind != Kind::File {
            return Err(refuse());
        }
        let named = |key: &str, field| {
            let name = pax(key).unwrap_or_else(|| text(block, field).to_vec());
            shown(&name)
        };
        let modified = self.pax.get("mtime").and_then(|t| pax::parse_time(t));
        let seconds = || {
            number(block, MTIME)
                .ok()
                .and_then(|s| i64::try_from(s).ok())
        };
        let member = Member {
            mode: u32::try_from(number(block, MODE)? & 0o7777).unwrap_or(0),
            uid: self
                .number("uid", &path)?
                .map_or_else(|| number(block, UID), Ok)?,
            gid: self
                .number("gid", &path)?
                .map_or_else(|| number(block, GID), Ok)?,
            owner: named("uname", OWNER),
            group: named("gname", GROUP),
            modified: modified.unwrap_or_else(|| (seconds().unwrap_or(0), 0)),
            size,
            kind,
            path,
        };
        Ok((member, stored, sparse))
    }

    fn number(&self, key: &str, path: &[u8]) -> Result<Option<u64>, TarError> {
        let Some(value) = self.pax.get(key) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value).ok();
        let number = text
            .and_then(|t| t.parse::<u64>().ok())
            .filter(|n| n >> 63 == 0);
        number
            .map(Some)
            .ok_or_else(|| TarError::Number(shown(path)))
    }
}

/// The name as it stands in the block; POSIX splits long ones in two.
fn name(block: &Block) -> Vec<u8> {
    let name = text(block, NAME);
    let prefix = text(block, PREFIX);
    if text(block, MAGIC).starts_with(b"ustar") && block[262] == 0 && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}
