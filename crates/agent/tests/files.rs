//! The real binary: tokens, signatures, and files in and out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use support::Agent;
use wardian_wire::signature::{sign, Operation};

const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

#[test]
fn nothing_but_health_is_open_without_the_token() {
    let agent = Agent::start("token", Some("secret"));
    assert_eq!(agent.call("GET /health", &[], b"").status, 204);
    for head in [
        "GET /envs",
        "GET /metrics",
        "POST /files/compose",
        "GET /files?path=boot",
        "POST /files?path=x",
        "POST /init",
        "POST /process.Process/List",
        "POST /filesystem.Filesystem/Stat",
        "GET /nowhere",
    ] {
        assert_eq!(agent.call(head, &[], b"").status, 401, "{head}");
        let wrong = agent.call(head, &[("X-Access-Token", "secreT")], b"");
        assert_eq!(wrong.status, 401, "{head}");
        assert!(!wrong.text().contains("secret"));
    }
    let token = [("X-Access-Token", "secret")];
    let envs = agent.call("GET /envs", &token, b"");
    assert_eq!(envs.text(), r#"{"GLOBAL":"yes"}"#);
    let metrics = agent.call("GET /metrics", &token, b"").text();
    assert!(metrics.contains(r#""cpu_count":2"#), "{metrics}");
}

#[test]
fn signatures_open_one_path_for_one_purpose() {
    let agent = Agent::start("signature", Some("secret"));
    let path = agent.path("signed.txt");
    let write = sign(path.as_bytes(), Operation::Write, "", "secret", None);
    let encoded = |s: &str| s.replace('+', "%2B").replace('/', "%2F");
    let head = format!("POST /files?path={path}&signature={}", encoded(&write));
    assert_eq!(agent.call(&head, &[OCTETS], b"data").status, 200);
    let read = sign(
        path.as_bytes(),
        Operation::Read,
        "",
        "secret",
        Some(4_000_000_000),
    );
    let get = |signature: &str, expiry: i64| {
        agent.call(
            &format!(
                "GET /files?path={path}&signature={}&signature_expiration={expiry}",
                encoded(signature)
            ),
            &[],
            b"",
        )
    };
    assert_eq!(get(&read, 4_000_000_000).text(), "data");
    assert_eq!(get(&read, 4_000_000_001).status, 401);
    assert_eq!(get(&write, 4_000_000_000).status, 401);
    let old = sign(path.as_bytes(), Operation::Read, "", "secret", Some(1000));
    assert!(get(&old, 1000).text().contains("expired"));
}

#[test]
fn init_changes_the_token_only_for_who_has_it() {
    let agent = Agent::start("init", Some("old"));
    let body = br#"{"accessToken":"new","envVars":{"A":"b"}}"#;
    assert_eq!(agent.call("POST /init", &[], body).status, 401);
    let reply = agent.call("POST /init", &[("X-Access-Token", "old")], body);
    assert_eq!(reply.status, 204);
    assert!(reply.head.contains("x-envd-version: 0.6.13"));
    assert_eq!(
        agent
            .call("GET /envs", &[("X-Access-Token", "old")], b"")
            .status,
        401
    );
    let envs = agent.call("GET /envs", &[("X-Access-Token", "new")], b"");
    assert_eq!(envs.text(), r#"{"A":"b","GLOBAL":"yes"}"#);
    let bad = br#"{"accessToken":"new","defaultUser":"nobody-here"}"#;
    assert_eq!(agent.call("POST /init", &[], bad).status, 400);
}

#[test]
fn ranges_and_codings() {
    let agent = Agent::start("ranges", None);
    let path = agent.path("r");
    agent.call(
        &format!("POST /files?path={path}"),
        &[OCTETS],
        b"0123456789",
    );
    let get =
        |headers: &[(&str, &str)]| agent.call(&format!("GET /files?path={path}"), headers, b"");
    let part = get(&[("Range", "bytes=2-4"), ("Accept-Encoding", "gzip")]);
    assert_eq!((part.status, part.text()), (206, "234".to_owned()));
    assert!(part.head.contains("content-range: bytes 2-4/10"));
    assert_eq!(get(&[("Range", "bytes=20-")]).status, 416);
    let zipped = get(&[("Accept-Encoding", "gzip")]);
    assert!(zipped.head.contains("content-encoding: gzip"));
    assert!(zipped.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(
        get(&[("Accept-Encoding", "identity;q=0, gzip;q=0")]).status,
        406
    );
    let plain = get(&[("Accept-Encoding", "gzip, deflate, br")]);
    assert_eq!(plain.text(), "0123456789");
    let date = plain
        .head
        .lines()
        .find_map(|l| l.strip_prefix("last-modified: "));
    let date = date.unwrap().to_owned();
    assert_eq!(get(&[("If-Modified-Since", &date)]).status, 304);
    // Files of /proc say they are empty and are not.
    let proc = agent.call("GET /files?path=/proc/self/status", &[], b"");
    assert!(proc.text().starts_with("Name:"));
    assert_eq!(
        agent.call("GET /files?path=/dev/zero", &[], b"").status,
        400
    );
}

#[test]
fn uploads_that_cannot_be_change_nothing() {
    let agent = Agent::start("uploads", None);
    let path = agent.path("kept");
    std::fs::write(&path, "kept").unwrap();
    let head = format!("POST /files?path={path}");
    for headers in [
        vec![("Content-Type", "text/plain")],
        vec![OCTETS, ("Content-Encoding", "br")],
        vec![OCTETS, ("X-Metadata-A", "\x01")],
        vec![("Content-Type", "multipart/form-data")],
    ] {
        assert_eq!(
            agent.call(&head, &headers, b"new").status,
            400,
            "{headers:?}"
        );
    }
    assert_eq!(agent.call("POST /files", &[OCTETS], b"new").status, 400);
    let unknown = agent.call(&format!("{head}&username=nobody-here"), &[OCTETS], b"new");
    assert_eq!(unknown.status, 401);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    let below = agent.call(&format!("POST /files?path={path}/x"), &[OCTETS], b"new");
    assert_eq!(below.status, 400);
    let null = agent.call("POST /files?path=/dev/null", &[OCTETS], b"new");
    assert_eq!(null.status, 400);
    // Half a gzip stream is told, not kept silently.
    let half = agent.call(
        &head,
        &[OCTETS, ("Content-Encoding", "gzip")],
        &[0x1f, 0x8b, 8],
    );
    assert_eq!(half.status, 400);
    // A path need not be UTF-8.
    let raw = agent.call(
        &format!("POST /files?path={}", agent.path("%ff")),
        &[OCTETS],
        b"x",
    );
    assert_eq!(raw.status, 200);
}

#[test]
fn composing_is_all_or_nothing() {
    let agent = Agent::start("compose", None);
    for (name, content) in [("1", "Hello, "), ("2", "World")] {
        std::fs::write(agent.path(name), content).unwrap();
    }
    let compose = |sources: &[&str], destination: &str| {
        let sources: Vec<String> = sources.iter().map(|s| agent.path(s)).collect();
        let body = serde_json::json!({
            "source_paths": sources, "destination": agent.path(destination), "username": "root",
        });
        agent.call("POST /files/compose", &[], body.to_string().as_bytes())
    };
    assert_eq!(compose(&["1", "missing"], "out").status, 404);
    assert_eq!(compose(&[], "out").status, 400);
    assert_eq!(compose(&["1"], "1").status, 400);
    assert!(!agent.directory.join("out").exists());
    let done = compose(&["1", "2"], "deep/out");
    assert_eq!(done.status, 200, "{}", done.text());
    let joined = std::fs::read_to_string(agent.path("deep/out")).unwrap();
    assert_eq!(joined, "Hello, World");
    assert!(!agent.directory.join("1").exists());
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let agent = Agent::start("refusal", None);
    let mut stream = agent.open_keep_alive();
    for (head, user) in [
        ("POST /process.Process/Start", "bm9ib2R5OnNlY3JldA=="),
        ("POST /filesystem.Filesystem/Stat", "bm9ib2R5OnNlY3JldA=="),
        ("POST /process.Process/Fly", ""),
        ("POST /nowhere", ""),
        ("POST /files?path=x&username=nobody-here", ""),
    ] {
        // The body comes in pieces, the last after the agent could have made up its mind.
        let request = format!(
            "{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{{  \r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        stream.write_all(b"1\r\n}\r\n0\r\n\r\n").unwrap();
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 "), "{head}");
        let text = String::from_utf8_lossy(&answer[..count]).to_lowercase();
        assert!(!text.contains("connection: close"), "{head}: {text}");
    }
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..count]).contains("204"));
}
