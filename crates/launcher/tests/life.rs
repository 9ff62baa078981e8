//! A sandbox's life, and what is left of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Barrier};
use support::client::create;
use support::layers::import_base;
use support::{fresh_id, Kind, Node, EDGE, STRANGER};

#[test]
fn is_made_used_frozen_and_removed_on_either_pool() {
    for kind in [Kind::Plain, Kind::Btrfs] {
        let node = Node::new(kind);
        let mut client = node.connect();
        let hello = client.ok(&json!({"op": "hello", "version": 1}));
        assert_eq!(hello["disk_limits"], kind == Kind::Btrfs);
        let base = import_base(&mut client);
        let id = fresh_id();
        let created = client.ok(&create(&id, std::slice::from_ref(&base)));
        let said = client.inside(
            &id,
            "echo x > /root/file && cat /root/file && hostname && id -u",
        );
        assert_eq!((said.text.as_str(), said.status), ("x\ninside\n0\n", 0));
        assert!(client
            .inside(&id, "!boot")
            .text
            .contains("\"access_token\":\"secret\""));
        let list = client.ok(&json!({"op": "list"}));
        let status = json!({"sandbox": id, "state": {"is": "running"}, "pid": created["pid"]});
        assert_eq!(list["sandboxes"], json!([status]));
        client.inside(&id, "(while true; do :; done) >/dev/null 2>&1 & echo");
        client.ok(&json!({"op": "freeze", "sandbox": id}));
        let usage = |client: &mut support::client::Client| {
            client.ok(&json!({"op": "usage", "sandbox": id}))["cpu_usec"]
                .as_u64()
                .unwrap()
        };
        let before = usage(&mut client);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(usage(&mut client), before, "a frozen sandbox used CPU");
        let list = client.ok(&json!({"op": "list"}));
        assert_eq!(list["sandboxes"][0]["state"]["is"], "frozen");
        client.ok(&json!({"op": "thaw", "sandbox": id}));
        assert_eq!(client.inside(&id, "true").status, 0);
        client.ok(&json!({"op": "freeze", "sandbox": id}));
        let (code, _) = client.fails(&json!({"op": "remove_layer", "layer": base}));
        assert_eq!(code, "in_use");
        let killed = client.kill(&id);
        assert_eq!(killed["existed"], true);
        assert!(killed["usage"]["cpu_usec"].as_u64().unwrap() > 0);
        assert_eq!(client.kill(&id)["existed"], false);
        client.ok(&json!({"op": "remove_layer", "layer": base}));
        node.finish();
    }
}

#[test]
fn a_hundred_at_once_all_succeed() {
    let node = Node::new(Kind::Btrfs);
    let base = import_base(&mut node.connect());
    let barrier = Arc::new(Barrier::new(100));
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let (mut client, barrier) = (node.connect(), Arc::clone(&barrier));
            let (id, base) = (fresh_id(), base.clone());
            std::thread::spawn(move || {
                barrier.wait();
                client.ok(&create(&id, &[base]));
                assert_eq!(client.inside(&id, "true").status, 0);
                client.kill(&id);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    node.finish();
}

#[test]
fn an_end_by_itself_is_told_with_its_reason() {
    let node = Node::new(Kind::Plain);
    let mut client = node.connect();
    let mut watcher = node.connect();
    let base = import_base(&mut client);
    watcher.ok(&json!({"op": "watch"}));
    for (line, reason) in [("!exit", "agent_exited"), ("!hog", "out_of_memory")] {
        let id = fresh_id();
        client.ok(&create(&id, std::slice::from_ref(&base)));
        client.inside(&id, line);
        let event = watcher.hear().unwrap();
        assert_eq!(event["event"], "ended");
        assert_eq!(
            (event["sandbox"].as_str().unwrap(), &event["reason"]),
            (id.as_str(), &json!(reason))
        );
        let list = client.ok(&json!({"op": "list"}));
        let state = &list["sandboxes"][0]["state"];
        assert_eq!(*state, json!({"is": "ended", "reason": reason}));
        let (code, _) = client.fails(&create(&id, std::slice::from_ref(&base)));
        assert_eq!(code, "already_exists");
        assert_eq!(client.kill(&id)["existed"], true);
    }
    node.finish();
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    use support::layers::{layer_id, tar, Item};
    let node = Node::new(Kind::Btrfs);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let evil = layer_id(7);
    client.import(&evil, tar(&[Item::Link("proc", "/etc")]));
    let (code, message) = client.fails(&create(&fresh_id(), &[evil, base.clone()]));
    assert_eq!(code, "kernel");
    assert!(
        message.contains("/proc of the template is no directory"),
        "{message}"
    );
    let (code, _) = client.fails(&create(&fresh_id(), &[layer_id(9)]));
    assert_eq!(code, "not_found");
    assert_eq!(client.ok(&json!({"op": "list"}))["sandboxes"], json!([]));
    let id = fresh_id();
    client.ok(&create(&id, &[base]));
    client.kill(&id);
    node.finish();

    let node = Node::with(Kind::Plain, std::path::Path::new("/nonexistent/agent"), 2);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let (code, message) = client.fails(&create(&fresh_id(), &[base]));
    assert!(
        code == "kernel" && message.contains("/nonexistent/agent"),
        "{message}"
    );
    node.finish();
}

#[test]
fn requests_that_are_not_as_they_must_be_are_refused() {
    let node = Node::new(Kind::Plain);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    let good = create(&id, std::slice::from_ref(&base));
    let mut wrong = Vec::new();
    for (pointer, value) in [
        ("/sandbox", json!("../../etc")),
        ("/layers", json!([])),
        ("/layers", json!([base, base])),
        ("/layers", json!(["../x"])),
        ("/limits/memory_bytes", json!(1)),
        ("/limits/memory_bytes", json!(u64::MAX)),
        ("/limits/pids", json!(-1)),
        ("/limits/cpu_millis", json!(0)),
        ("/boot/hostname", json!("a\nb")),
        ("/boot/sandbox", json!("aaaaaaaaaaaaaaaaaaaa")),
    ] {
        let mut request = good.clone();
        *request.pointer_mut(pointer).unwrap() = value;
        wrong.push(request);
    }
    let mut extra = good.clone();
    extra["surprise"] = json!(1);
    wrong.extend([
        extra,
        json!({"op": "dance"}),
        json!([]),
        json!({"op": "list", "x": 1}),
    ]);
    wrong.push(json!({"op": "hello", "version": 2}));
    wrong.push(json!({"op": "open_sockets", "sandbox": id, "count": 17}));
    wrong.push(json!({"op": "import_layer", "layer": base}));
    for request in wrong {
        assert_eq!(client.fails(&request).0, "invalid_request", "{request}");
    }
    for op in ["usage", "freeze", "thaw"] {
        assert_eq!(
            client.fails(&json!({"op": op, "sandbox": id})).0,
            "not_found"
        );
    }
    // Too long a frame ends the connection; half a frame does not hinder others.
    let mut half = node.connect();
    half.stream.write_all(&[0, 0, 0, 9, b'{']).unwrap();
    let mut long = node.connect();
    long.stream.write_all(&[0xff; 4]).unwrap();
    assert!(long.hear().is_none());
    client.ok(&json!({"op": "list"}));
    drop(half);
    node.finish();
}

/// Connects as another user: the credentials of a connection are those of the thread.
fn connect_as(uid: u32, node: &Node) -> support::client::Client {
    let path = node.socket();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let thread = std::thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        support::client::Client::connect(&path)
    });
    thread.join().unwrap()
}

#[test]
fn the_edge_gets_sockets_only_and_strangers_nothing() {
    let node = Node::new(Kind::Plain);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    client.ok(&create(&id, &[base]));
    let mut edge = connect_as(EDGE, &node);
    assert_eq!(edge.inside(&id, "echo hi").text, "hi\n");
    edge.ok(&json!({"op": "open_outbound", "sandbox": id}));
    edge.descriptors.clear();
    for request in [
        json!({"op": "list"}),
        json!({"op": "kill", "sandbox": id}),
        json!({"op": "watch"}),
    ] {
        assert_eq!(edge.fails(&request).0, "denied");
    }
    assert!(connect_as(STRANGER, &node).hear().is_none());
    client.kill(&id);
    node.finish();
}
