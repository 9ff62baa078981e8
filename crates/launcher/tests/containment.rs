//! What code inside tries, and that it does not get there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use support::client::{create, Client};
use support::layers::import_base;
use support::{fresh_id, Kind, Node};

fn sandbox(node: &Node) -> (Client, String) {
    let mut client = node.connect();
    let base = import_base(&mut client);
    let id = fresh_id();
    client.ok(&create(&id, &[base]));
    (client, id)
}

#[test]
fn root_inside_is_root_of_nothing_else() {
    let node = Node::new(Kind::Btrfs);
    let (mut client, id) = sandbox(&node);
    for line in [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc/sys",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo c > /proc/sysrq-trigger",
        "ip link set eth0 down",
        "ip addr add 10.0.0.9/30 dev eth0",
        "mknod /tmp/disk b 254 0",
        "dmesg",
        "chroot /proc/1/root/../../../.. test -e /var/lib/dpkg",
        "cat /sys/firmware/* 2>/dev/null | grep .",
        "find /sys/fs/cgroup -mindepth 1 | grep .",
        "echo x > /proc/1/oom_score_adj && test $(cat /proc/1/oom_score_adj) = x",
        "date -s 2000-01-01; test $(date +%Y) = 2000",
        "swapon /dev/zero",
        "ls /proc/1/fd | grep -v '^[0-9]$' | grep -v '^1[0-9]$'",
        "hostname other",
    ] {
        let said = client.inside(&id, line);
        assert_ne!(said.status, 0, "{line}: {}", said.text);
    }
    for (call, errno) in [
        ("!socket 17 3 768", libc::EAFNOSUPPORT),
        ("!socket 40 1 0", libc::EAFNOSUPPORT),
        ("!socket 38 5 0", libc::EAFNOSUPPORT),
        ("!socket 16 3 12", libc::EAFNOSUPPORT),
    ] {
        assert_eq!(client.inside(&id, call).status, errno, "{call}");
    }
    for call in [
        libc::SYS_keyctl,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_setns,
    ] {
        assert_eq!(
            client.inside(&id, &format!("!call {call} 0 0 0")).status,
            libc::EPERM,
            "{call}"
        );
    }
    client.kill(&id);
    node.finish();
}

#[test]
fn nothing_of_the_host_shows() {
    let node = Node::new(Kind::Btrfs);
    let (mut client, id) = sandbox(&node);
    let mut ask = |line: &str| client.inside(&id, line).text;
    let pids = ask("ls /proc | grep '^[0-9]*$' | wc -l");
    assert!(pids.trim().parse::<u32>().unwrap() < 10, "{pids}");
    assert_eq!(ask("cat /proc/1/cmdline | tr '\\0' ' '"), "wardian-agent ");
    assert_eq!(ask("cat /proc/1/environ"), "");
    assert_eq!(ask("cat /proc/1/cgroup | cut -d: -f3 | sort -u"), "/\n");
    assert_eq!(ask("cat /proc/mounts | grep -c wardian-test"), "0\n");
    assert_eq!(ask("head -c 1 /proc/kcore 2>/dev/null | wc -c"), "0\n");
    let held = ask("for f in /proc/1/fd/*; do readlink $f; done | grep -v '^socket:\\|^/dev/null\\|^/memfd:boot\\|^pipe:'");
    assert_eq!(held.trim(), "");
    let capabilities = ask("grep CapBnd /proc/self/status");
    assert_eq!(
        capabilities.split_whitespace().last().unwrap(),
        "00000000a80425fb"
    );
    assert_eq!(
        ask("grep Seccomp: /proc/self/status")
            .split_whitespace()
            .last()
            .unwrap(),
        "2"
    );
    // Root inside is an unprivileged user outside, of a range of its own.
    let map = ask("cat /proc/self/uid_map");
    let base: u32 = map.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(base >= 200_000_000, "{map}");
    let list = client.ok(&json!({"op": "list"}));
    let pid = &list["sandboxes"][0]["pid"];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uids = format!("Uid:\t{base}\t{base}\t{base}\t{base}");
    assert!(status.contains(&uids), "{status}");
    // On disk its files belong to root of no range, so layers can move between ranges.
    client.inside(&id, "echo x > /root/file; su user -c 'echo x > /tmp/user' ; chmod 777 /tmp; su user -c 'echo x > /tmp/user'");
    let file = node
        .directory
        .join(format!("home/pool/disks/{id}/upper/root/file"));
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(file).unwrap());
    assert_eq!(owner, 0);
    client.kill(&id);
    node.finish();
}

#[test]
fn the_wire_leads_to_the_edge_only() {
    let node = Node::new(Kind::Plain);
    let (mut client, id) = sandbox(&node);
    for target in [
        "1.1.1.1 80",
        "169.254.169.254 80",
        "10.0.0.1 22",
        "192.168.0.1 443",
    ] {
        // Refused, not silent: nc would wait its 10 s otherwise and say so.
        let said = client.inside(&id, &format!("nc -w 10 {target} </dev/null"));
        assert_ne!(said.status, 0);
        assert!(said.text.contains("refused"), "{target}: {}", said.text);
    }
    let said = client.inside(&id, "ping -c 1 -W 1 10.0.0.1");
    assert_ne!(said.status, 0, "{}", said.text);
    assert!(client
        .inside(&id, "ip addr show eth0")
        .text
        .contains("10.0.0.2/30"));
    assert!(client
        .inside(&id, "ip route")
        .text
        .starts_with("default via 10.0.0.1"));
    // Ports below 1024 are the user's own too.
    assert_eq!(
        client
            .inside(&id, "nc -l -p 80 -e cat >/dev/null 2>&1 & echo started")
            .text,
        "started\n"
    );
    client.kill(&id);
    node.finish();
}

#[test]
fn limits_hold() {
    let node = Node::new(Kind::Btrfs);
    let (mut client, id) = sandbox(&node);
    let full = client.inside(
        &id,
        "dd if=/dev/urandom of=/root/large bs=1M count=200 2>&1; rm /root/large",
    );
    assert!(
        full.text.contains("quota") || full.text.contains("space"),
        "{}",
        full.text
    );
    let bomb = client.inside(
        &id,
        "i=0; while [ $i -lt 200 ]; do sleep 1 >/dev/null 2>&1 & i=$((i+1)); done",
    );
    assert!(bomb.text.contains("fork"), "{}", bomb.text);
    let usage = client.ok(&json!({"op": "usage", "sandbox": id}));
    assert!(usage["pids"].as_u64().unwrap() <= 64, "{usage}");
    // Nothing can be started until the bomb has burnt out.
    let mut left = usage["pids"].as_u64().unwrap();
    while left > 8 {
        client.inside(&id, "sleep 0.1");
        left = client.ok(&json!({"op": "usage", "sandbox": id}))["pids"]
            .as_u64()
            .unwrap();
    }
    // A hog is killed; its sandbox lives on.
    let hog = client.inside(&id, "tail /dev/zero");
    assert_ne!(hog.status, 0);
    let usage = client.ok(&json!({"op": "usage", "sandbox": id}));
    assert!(usage["oom_kills"].as_u64().unwrap() >= 1, "{usage}");
    assert!(
        usage["memory_peak_bytes"].as_u64().unwrap() <= 128 << 20,
        "{usage}"
    );
    assert_eq!(client.inside(&id, "echo alive").text, "alive\n");
    client.kill(&id);
    // Block I/O is limited where asked for.
    let limited = fresh_id();
    let mut request = create(&limited, &[support::layers::layer_id(1)]);
    request["limits"]["io_bytes_per_second"] = json!(10 << 20);
    client.ok(&request);
    assert_eq!(
        client
            .inside(&limited, "echo x > /root/file && sync")
            .status,
        0
    );
    client.kill(&limited);
    node.finish();
}
