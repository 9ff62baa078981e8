//! The headers of an archive being written, in pax form.

use super::block::{
    self, padding, put, put_number, Block, GID, GROUP, LINK, MAGIC, MODE, MTIME, NAME, OWNER, SIZE,
    TYPE, UID,
};
use super::member::{Kind, Member};
use super::sparse::Piece;
use super::{pax, sparse, BLOCK};

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of a member, with all extension headers it needs. Its content and
/// [`padding`] follow.
#[must_use]
pub fn header(member: &Member) -> Vec<u8> {
    write(member, member.size, Vec::new())
}

/// The header of a file with holes, and the map of its pieces; how many bytes of content follow is
/// told too: the pieces, one behind the other, and their [`padding`].
#[must_use]
pub fn sparse_header(member: &Member, pieces: &[Piece]) -> (Vec<u8>, u64) {
    let data: u64 = pieces.iter().map(|(_, length)| length).sum();
    let map = sparse::write(pieces);
    let mut records = Vec::new();
    pax::write(&mut records, "GNU.sparse.major", b"1");
    pax::write(&mut records, "GNU.sparse.minor", b"0");
    pax::write(&mut records, "GNU.sparse.name", &member.path);
    let size = member.size.to_string();
    pax::write(&mut records, "GNU.sparse.realsize", size.as_bytes());
    let mut bytes = write(member, data + map.len() as u64, records);
    bytes.extend_from_slice(&map);
    (bytes, data)
}

fn write(member: &Member, size: u64, mut records: Vec<u8>) -> Vec<u8> {
    let mut block = [0; BLOCK];
    let mut extend = |key: &str, value: &[u8]| pax::write(&mut records, key, value);
    let (kind, target) = match &member.kind {
        Kind::File => (b'0', &b""[..]),
        Kind::HardLink { target } => (b'1', &target[..]),
        Kind::Symlink { target } => (b'2', &target[..]),
        Kind::Directory => (b'5', &b""[..]),
        Kind::Fifo | Kind::Other => (b'6', &b""[..]),
    };
    for (key, field, bytes) in [("path", NAME, &member.path[..]), ("linkpath", LINK, target)] {
        put(&mut block, field, bytes);
        // A path of another encoding than UTF-8 goes where bytes are bytes, if it fits there.
        if bytes.len() > field.1 - field.0 {
            extend(key, bytes);
        }
    }
    for (key, field, number) in [
        ("uid", UID, member.uid),
        ("gid", GID, member.gid),
        ("size", SIZE, size),
    ] {
        if !put_number(&mut block, field, number) {
            extend(key, number.to_string().as_bytes());
        }
    }
    let seconds = u64::try_from(member.modified.0).unwrap_or(u64::MAX);
    if !put_number(&mut block, MTIME, seconds) || member.modified.1 != 0 {
        extend("mtime", pax::time(member.modified).as_bytes());
    }
    for (key, field, name) in [
        ("uname", OWNER, &member.owner),
        ("gname", GROUP, &member.group),
    ] {
        if name.len() < field.1 - field.0 {
            put(&mut block, field, name.as_bytes());
        } else {
            extend(key, name.as_bytes());
        }
    }
    put_number(&mut block, MODE, u64::from(member.mode & 0o7777));
    finish(&mut block, kind);
    let mut bytes = extension(&records);
    bytes.extend_from_slice(&block);
    bytes
}

fn finish(block: &mut Block, kind: u8) {
    block[TYPE] = kind;
    put(block, MAGIC, b"ustar\x0000");
    block::seal(block);
}

fn extension(records: &[u8]) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let mut block = [0; BLOCK];
    put(&mut block, NAME, b"././@PaxHeader");
    put_number(&mut block, MODE, 0o644);
    put_number(&mut block, SIZE, records.len() as u64);
    put_number(&mut block, MTIME, 0);
    put_number(&mut block, UID, 0);
    put_number(&mut block, GID, 0);
    finish(&mut block, b'x');
    let mut bytes = block.to_vec();
    bytes.extend_from_slice(records);
    let padding = usize::try_from(padding(records.len() as u64)).unwrap_or(0);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}
