//! Layers from archives, also from hostile ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use support::client::create;
use support::layers::{import_base, layer_id, tar, Item};
use support::{fresh_id, Kind, Node};

#[test]
fn whiteouts_hide_what_lies_below() {
    let node = Node::new(Kind::Btrfs);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let (middle, top) = (layer_id(2), layer_id(3));
    client.import(
        &middle,
        tar(&[
            Item::Directory("data/"),
            Item::File("data/old", b"old"),
            Item::File("gone", b"gone"),
            Item::HardLink("same", "gone"),
            Item::Device("dev/null"),
        ]),
    );
    let items = [
        Item::Directory("data"),
        Item::File("data/.wh..wh..opq", b""),
        Item::File("data/new", b"new"),
        Item::File(".wh.gone", b""),
    ];
    let answer = client.import(&top, tar(&items));
    assert_eq!(answer["ok"]["files"], 4, "{answer}");
    let again = client.import(&top, Vec::new());
    assert_eq!(
        (&again["ok"]["existed"], &again["ok"]["files"]),
        (&json!(true), &json!(4))
    );
    let id = fresh_id();
    client.ok(&create(&id, &[top.clone(), middle.clone(), base]));
    let said = client.inside(
        &id,
        "ls /data; ls / | grep -c gone; cat /same; echo new > /data/more && cat /data/more",
    );
    assert_eq!(said.text, "new\n0\ngonenew\n");
    client.kill(&id);
    let pool = node.directory.join("home/pool/layers");
    let whiteout = std::fs::symlink_metadata(pool.join(&top).join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert!(!pool.join(&middle).join("dev/null").exists());
    let listed = client.ok(&json!({"op": "list_layers"}));
    assert_eq!(listed["layers"], json!([layer_id(1), middle, top]));
    node.finish();
}

#[test]
fn an_archive_writes_nowhere_but_in_its_layer() {
    let node = Node::new(Kind::Plain);
    let mut client = node.connect();
    let outside = node.directory.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let bad: Vec<Vec<u8>> = vec![
        tar(&[Item::File("../../../escaped", b"x")]),
        tar(&[Item::Link("a", target), Item::File("a/escaped", b"x")]),
        tar(&[Item::Link("a", target), Item::Directory("a/escaped")]),
        tar(&[
            Item::Link("a", "/etc"),
            Item::HardLink("shadow", "a/passwd"),
        ]),
        tar(&[Item::HardLink("b", "../../../../etc/passwd")]),
        tar(&[Item::HardLink("b", "missing")]),
        tar(&[Item::File(".wh.", b"")]),
        tar(&[Item::File("x", b"content")])[..700].to_vec(),
        vec![0xff; 2048],
    ];
    for (number, archive) in bad.into_iter().enumerate() {
        let id = layer_id(100 + u32::try_from(number).unwrap());
        let answer = client.import(&id, archive);
        assert_eq!(answer["error"]["code"], "bad_layer", "{number}: {answer}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let left = std::fs::read_dir(node.directory.join("home/pool/layers")).unwrap();
    assert_eq!(left.count(), 0);
    // A link may point anywhere: it is only never walked through.
    let fine = client.import(
        &layer_id(5),
        tar(&[Item::Link("a", target), Item::Directory("a")]),
    );
    assert!(fine.get("ok").is_some(), "{fine}");
    assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
    assert_eq!(
        client
            .fails(&json!({"op": "remove_layer", "layer": layer_id(6)}))
            .0,
        "not_found"
    );
    client.ok(&json!({"op": "remove_layer", "layer": layer_id(5)}));
    assert_eq!(
        client.ok(&json!({"op": "list_layers"}))["layers"],
        json!([])
    );
    node.finish();
}
