//! The real binary: what commands may do to it, and what it does to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;
use std::path::Path;
use support::{read_reply, wait_until, Agent};

#[test]
fn a_reader_that_stops_costs_bounded_memory_and_stalls_nobody() {
    let agent = Agent::start("stopped", None);
    let mut stuck = agent.start_command("head -c 1000000000 /dev/zero; touch finished", &[]);
    let mut first = [0; 4096];
    stuck.read_exact(&mut first).unwrap();
    for _ in 0..20 {
        assert!(agent.run("echo other", &[]).contains("b3RoZXIK"));
    }
    assert!(agent.status_kib("VmHWM") < 64 * 1024);
    assert!(!Path::new(&agent.path("finished")).exists());
    // Without its reader the command runs to its end, unheard.
    drop(stuck);
    wait_until("the command ends", || {
        Path::new(&agent.path("finished")).exists()
    });
}

#[test]
fn the_deadline_kills_the_whole_tree() {
    let agent = Agent::start("deadline", None);
    let command = "touch a; (while :; do touch a; sleep 0.05; done) & \
                   setsid sh -c 'echo $$ > daemon; while :; do sleep 0.05; done' & \
                   while [ ! -s daemon ]; do sleep 0.01; done; echo ready; sleep 600";
    let seen = agent.run(command, &[("connect-timeout-ms", "1500")]);
    assert!(seen.contains("deadline_exceeded"), "{seen}");
    let daemon = std::fs::read_to_string(agent.path("daemon")).unwrap();
    let place = format!("/proc/{}", daemon.trim());
    wait_until("the daemon is dead", || !Path::new(&place).exists());
}

#[test]
fn killing_the_spawner_or_a_supervisor_is_survived() {
    let agent = Agent::start("spawner", None);
    assert!(agent.run("echo one", &[]).contains("b25lCg=="));
    // As root, a command can kill what started it; its own supervisor is its parent.
    let seen = agent.run("kill -9 $PPID; sleep 1", &[]);
    // The command may be faster than its supervisor's report that it has started.
    assert!(seen.contains("supervisor"), "{seen}");
    assert!(seen.contains("was killed"), "{seen}");
    let spawner = format!("/proc/{}/task/{0}/children", agent.pid());
    let spawner = std::fs::read_to_string(spawner).unwrap();
    let spawner = spawner.split_whitespace().next().unwrap().to_owned();
    agent.run(&format!("kill -9 {spawner}"), &[]);
    wait_until("a new spawner works", || {
        agent.run("echo two", &[]).contains("dHdvCg==")
    });
}

#[test]
fn what_outlives_a_command_keeps_its_output() {
    let agent = Agent::start("outlives", None);
    let seen = agent.run("(sleep 0.6; echo late && touch survived) & echo soon", &[]);
    assert!(seen.contains("c29vbgo="), "{seen}");
    assert!(seen.contains("exit status 0"), "{seen}");
    // Writing to a closed pipe would have killed it.
    wait_until("the child survives", || {
        Path::new(&agent.path("survived")).exists()
    });
}

#[test]
fn bad_commands_are_named() {
    let agent = Agent::start("bad", None);
    let start = |message: &str| {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message.bytes());
        let headers = [("Content-Type", "application/connect+json")];
        let reply = read_reply(agent.open("POST /process.Process/Start", &headers, &body));
        assert_eq!(reply.status, 200);
        reply.text()
    };
    for (message, expected) in [
        (r#"{"process":{"cmd":"/no/such"}}"#, "cannot run '/no/such'"),
        (
            r#"{"process":{"cmd":"true","cwd":"/no/such"}}"#,
            "cwd '/no/such' does not exist",
        ),
        (r#"{"process":{"cmd":""}}"#, "nothing to run"),
        (r#"{"process":{"cmd":"a\u0000b"}}"#, "NUL"),
        (r#"{"process":{"cmd":"env","envs":{"A=B":"x"}}}"#, "'A=B'"),
        (r#"{"process":"#, "request message"),
    ] {
        let seen = start(message);
        assert!(seen.contains("invalid_argument"), "{seen}");
        assert!(seen.contains(expected), "{seen}");
    }
    let listed = agent.rpc("process.Process/List", "{}").text();
    assert_eq!(listed, r#"{"processes":[]}"#);
}

#[test]
fn selectors_find_or_say_not_found() {
    let agent = Agent::start("selectors", None);
    for method in ["SendSignal", "SendInput", "CloseStdin", "Update"] {
        let reply = agent.rpc(
            &format!("process.Process/{method}"),
            r#"{"process":{"pid":4000000},"signal":"SIGNAL_SIGKILL"}"#,
        );
        assert_eq!(reply.status, 404, "{method}");
        assert!(reply.text().contains("not_found"));
    }
    let running = agent.start_command(
        "trap 'exit 9' TERM; touch up; while :; do sleep 0.05; done",
        &[],
    );
    wait_until("it runs", || Path::new(&agent.path("up")).exists());
    let reply = agent.rpc(
        "process.Process/SendSignal",
        r#"{"process":{"tag":"t"},"signal":"SIGNAL_SIGTERM"}"#,
    );
    assert_eq!(reply.status, 200);
    assert!(read_reply(running).text().contains("exit status 9"));
    let reply = agent.rpc("process.Process/Fly", "{}");
    assert_eq!(reply.status, 501);
}
