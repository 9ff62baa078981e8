//! Layers for tests.

use super::client::Client;
use std::path::Path;

/// An entry of a tar.
pub enum Item<'a> {
    Directory(&'a str),
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Device(&'a str),
}

/// A tar of `items`; paths are taken as they are, also bad ones.
pub fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |path: &str, kind: u8, link: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        let raw = header.as_ustar_mut().unwrap();
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        raw.typeflag = [kind];
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    };
    for item in items {
        match item {
            Item::Directory(path) => add(path, b'5', "", 0o755, b""),
            Item::File(path, content) => add(path, b'0', "", 0o755, content),
            Item::Link(path, target) => add(path, b'2', target, 0o777, b""),
            Item::HardLink(path, target) => add(path, b'1', target, 0o644, b""),
            Item::Device(path) => add(path, b'3', "", 0o666, b""),
        }
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// 64 hexadecimal digits that end in `number`.
pub fn layer_id(number: u32) -> String {
    format!("{number:064x}")
}

/// A small system: a static busybox and the directories one expects.
pub fn import_base(client: &mut Client) -> String {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let busybox = std::fs::read(busybox.expect("install busybox-static")).unwrap();
    let names = super::run("busybox", &["--list"]);
    let paths: Vec<String> = names
        .lines()
        .filter(|n| *n != "busybox")
        .map(|n| format!("bin/{n}"))
        .collect();
    let directories = ["bin", "etc", "proc", "sys", "dev", "tmp", "root"];
    let mut items: Vec<Item<'_>> = directories.iter().map(|d| Item::Directory(d)).collect();
    items.push(Item::File("bin/busybox", &busybox));
    items.extend(paths.iter().map(|path| Item::Link(path, "busybox")));
    items.push(Item::File(
        "etc/passwd",
        b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    ));
    items.push(Item::File("etc/group", b"root:x:0:\nuser:x:1000:\n"));
    let id = layer_id(1);
    let answer = client.import(&id, tar(&items));
    assert_eq!(answer["ok"]["existed"], false, "{answer}");
    id
}
