//! Launchers that die, and those that go on for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{json, Value};
use support::client::create;
use support::layers::import_base;
use support::{fresh_id, Kind, Node};

#[test]
fn running_sandboxes_are_adopted_and_ended_ones_noted() {
    let mut node = Node::new(Kind::Btrfs);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let (kept, lost) = (fresh_id(), fresh_id());
    let pid = client.ok(&create(&kept, std::slice::from_ref(&base)))["pid"].clone();
    client.inside(&kept, "echo here > /tmp/mark");
    let other = client.ok(&create(&lost, std::slice::from_ref(&base)))["pid"]
        .as_i64()
        .unwrap();
    node.kill_launcher();
    let other = rustix::process::Pid::from_raw(i32::try_from(other).unwrap()).unwrap();
    rustix::process::kill_process(other, rustix::process::Signal::KILL).unwrap();
    node.start();
    let mut client = node.connect();
    let mut states = |id: &str| {
        let list = client.ok(&json!({"op": "list"}));
        let all = list["sandboxes"].as_array().unwrap().clone();
        all.into_iter()
            .find(|status| status["sandbox"] == id)
            .unwrap()
    };
    assert_eq!(
        states(&kept),
        json!({"sandbox": kept, "state": {"is": "running"}, "pid": pid})
    );
    // It may have been seen while it was still dying.
    while states(&lost)["state"]["is"] == "running" {
        std::thread::yield_now();
    }
    assert_eq!(
        states(&lost)["state"],
        json!({"is": "ended", "reason": "agent_exited"})
    );
    assert_eq!(client.inside(&kept, "cat /tmp/mark").text, "here\n");
    let next = fresh_id();
    client.ok(&create(&next, &[base]));
    for id in [kept, lost, next] {
        assert_eq!(client.kill(&id)["existed"], true);
    }
    node.finish();
}

#[test]
fn a_launcher_killed_amid_creates_leaves_whole_sandboxes_or_none() {
    let mut node = Node::new(Kind::Btrfs);
    let base = import_base(&mut node.connect());
    for round in 0..5_u32 {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (mut client, id, base) = (node.connect(), fresh_id(), base.clone());
                std::thread::spawn(move || {
                    let request = create(&id, &[base]);
                    client.send(&support::client::Client::frame(&request), &[]);
                    client
                        .hear()
                        .filter(|answer| answer.get("ok").is_some())
                        .map(|_| id)
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(3 * round)));
        node.kill_launcher();
        let told: Vec<String> = threads
            .into_iter()
            .filter_map(|t| t.join().unwrap())
            .collect();
        node.start();
        let mut client = node.connect();
        let list = client.ok(&json!({"op": "list"}));
        let there: Vec<String> = list["sandboxes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|status| {
                assert_eq!(status["state"]["is"], "running", "{status}");
                status["sandbox"].as_str().unwrap().to_owned()
            })
            .collect();
        for id in &told {
            assert!(there.contains(id), "{id} was promised");
        }
        for id in &there {
            assert_eq!(client.inside(id, "true").status, 0);
            client.kill(id);
        }
    }
    node.finish();
}

#[test]
fn after_a_reboot_only_disks_are_left() {
    let mut node = Node::new(Kind::Plain);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    client.ok(&create(&id, std::slice::from_ref(&base)));
    // As a reboot: no process, another boot, and no records where /run is in memory.
    let record = node
        .directory
        .join(format!("run/launcher/sandboxes/{id}.json"));
    for keep_record in [true, false] {
        node.kill_launcher();
        let text = std::fs::read_to_string(&record).unwrap();
        if keep_record {
            let mut value: Value = serde_json::from_str(&text).unwrap();
            value["boot_id"] = json!("another");
            std::fs::write(&record, value.to_string()).unwrap();
        } else {
            std::fs::remove_file(&record).unwrap();
        }
        node.start();
        let mut client = node.connect();
        let list = client.ok(&json!({"op": "list"}));
        let state = &list["sandboxes"][0]["state"];
        assert_eq!(*state, json!({"is": "ended", "reason": "node_restarted"}));
        let (code, _) = client.fails(&json!({"op": "remove_layer", "layer": base}));
        assert_eq!(code, "in_use");
    }
    assert_eq!(node.connect().kill(&id)["existed"], true);
    node.finish();
}

#[test]
fn told_to_stop_it_leaves_running_sandboxes_alone() {
    let mut node = Node::new(Kind::Btrfs);
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    client.ok(&create(&id, &[base]));
    node.stop();
    node.start();
    let mut client = node.connect();
    assert_eq!(client.inside(&id, "echo on").text, "on\n");
    client.kill(&id);
    node.finish();
}
