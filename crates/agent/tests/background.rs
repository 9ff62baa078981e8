//! Background processes of the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{json, Value};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use support::{read_reply, wait_until, Agent, Reply};
use wardian_wire::log::{Header, Kind, HEADER};

fn call(agent: &Agent, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let reply = send(agent, method, path, body);
    let text = reply.text();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (reply.status, value)
}

fn send(agent: &Agent, method: &str, path: &str, body: &Value) -> Reply {
    let head = format!("{method} /v1/processes{path}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    agent.call(&head, &[], body.as_bytes())
}

fn get(agent: &Agent, path: &str) -> (u16, Value) {
    call(agent, "GET", path, &Value::Null)
}

fn start(agent: &Agent, name: &str, command: &str, more: &Value) -> Value {
    // No login shell: what this machine's profiles do is not what is tested.
    let mut body = json!({"name": name, "argv": ["/bin/sh", "-c", command]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let (status, value) = call(agent, "POST", "", &body);
    assert_eq!(status, 201, "{value}");
    value
}

fn code(value: &Value) -> &str {
    value["error"]["code"].as_str().unwrap_or("")
}

/// Kind and text of every record.
fn records(agent: &Agent, path: &str) -> Vec<(Kind, String)> {
    let reply = send(agent, "GET", path, &Value::Null);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (mut rest, mut seen) = (&reply.body[..], Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<HEADER>() {
        let header = Header::decode(head).unwrap();
        let (payload, after) = after.split_at(header.length as usize);
        seen.push((header.kind, String::from_utf8_lossy(payload).into_owned()));
        rest = after;
    }
    assert!(rest.is_empty());
    seen
}

fn alive(pid: &str) -> bool {
    Path::new(&format!("/proc/{}", pid.trim())).exists()
}

#[test]
fn a_process_has_a_log_and_an_end() {
    let agent = Agent::start("bg-life", None);
    let shown = start(&agent, "job", "echo out; echo err >&2; exit 3", &json!({}));
    assert_eq!(shown["restarts"], 0);
    let (status, ended) = get(&agent, "/job/wait?for=exit&timeout=60");
    assert_eq!((status, &ended["exit_code"]), (200, &json!(3)));
    assert_eq!(
        (&ended["state"], &ended["pid"]),
        (&json!("ended"), &Value::Null)
    );
    assert!(ended["memory_peak_bytes"].as_u64().unwrap() > 0);
    let seen = records(&agent, "/job/log");
    assert_eq!(seen.first().unwrap().0, Kind::Mark);
    assert!(seen.contains(&(Kind::Stdout, "out\n".to_owned())));
    assert!(seen.contains(&(Kind::Stderr, "err\n".to_owned())));
    let (kind, mark) = seen.last().unwrap();
    assert_eq!(*kind, Kind::Mark);
    assert!(mark.contains("\"exit_code\":3") && mark.contains("\"restarting\":false"));
    let plain = agent.call(
        "GET /v1/processes/job/log?stream=stderr",
        &[("Accept", "text/plain")],
        b"",
    );
    assert_eq!(plain.text(), "err\n");
    let end = ended["log"]["end"].as_u64().unwrap();
    let follow = agent.open(
        &format!("GET /v1/processes/job/log?follow=1&since={end}"),
        &[],
        b"",
    );
    assert!(read_reply(follow).body.is_empty());
    assert_eq!(get(&agent, &format!("/job/log?since={}", end + 1)).0, 400);
    assert_eq!(get(&agent, "/job/log?log=other").0, 410);
}

#[test]
fn names_are_unique_while_they_run_and_free_afterwards() {
    let agent = Agent::start("bg-names", None);
    start(&agent, "one", "sleep 600", &json!({}));
    let (status, refusal) = call(
        &agent,
        "POST",
        "",
        &json!({"name": "one", "argv": ["/bin/true"]}),
    );
    assert_eq!((status, code(&refusal)), (409, "process_exists"));
    let (status, stopped) = call(&agent, "POST", "/one/stop", &json!({}));
    assert_eq!((status, &stopped["signal"]), (200, &json!("SIGTERM")));
    let missing = json!({"name": "one", "command": "true", "cwd": "/no/such"});
    assert_eq!(call(&agent, "POST", "", &missing).0, 400);
    assert_eq!(
        get(&agent, "/one").1["signal"],
        "SIGTERM",
        "a refused start changes nothing"
    );
    let first = stopped["log"]["id"].clone();
    let second = start(&agent, "one", "echo fresh; sleep 600", &json!({}));
    assert_ne!(second["log"]["id"], first);
    let (_, found) = get(&agent, "/one/wait?for=log&text=fresh&timeout=60");
    assert_eq!(found["line"], "fresh");
    assert_eq!(call(&agent, "DELETE", "/one", &Value::Null).0, 204);
    assert_eq!(code(&get(&agent, "/one").1), "process_not_found");
    assert!(!Path::new(&agent.path("logs/one")).exists());
    let (_, made_up) = call(&agent, "POST", "", &json!({"argv": ["/bin/sleep", "600"]}));
    assert_eq!(made_up["name"], "sleep");
    let (_, other) = call(&agent, "POST", "", &json!({"argv": ["/bin/sleep", "600"]}));
    assert_eq!(other["name"], "sleep-2");
    assert_eq!(call(&agent, "POST", "/stop", &json!({"grace": 9})).0, 200);
    let (_, all) = get(&agent, "");
    let states = all["processes"].as_array().unwrap().iter();
    assert!(states.map(|p| &p["state"]).all(|state| state == "ended"));
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let agent = Agent::start("bg-bad", None);
    for body in [
        json!({}),
        json!({"command": ""}),
        json!({"argv": []}),
        json!({"command": "true", "argv": ["true"]}),
        json!({"command": "true", "name": "No"}),
        json!({"command": "true", "name": ".."}),
        json!({"command": "true", "what": 1}),
        json!({"command": "true", "restart": "sometimes"}),
        json!({"command": "true", "log_limit": 1}),
        json!({"command": "true", "user": "nobody-at-all"}),
        json!({"command": "true", "env": {"A=B": "x"}}),
        json!({"argv": ["/no/such/program"]}),
        json!({"command": "a\u{0}b"}),
    ] {
        let (status, refusal) = call(&agent, "POST", "", &body);
        assert_eq!((status, code(&refusal)), (400, "invalid_request"), "{body}");
    }
    assert_eq!(get(&agent, "").1, json!({"processes": []}));
    start(&agent, "p", "sleep 600", &json!({}));
    for path in [
        "/p/wait",
        "/p/wait?for=port",
        "/p/wait?for=port&port=0",
        "/p/wait?for=port&port=80&status=200",
        "/p/wait?for=port&port=80&path=x",
        "/p/wait?for=log",
        "/p/wait?for=log&regex=(",
        "/p/wait?for=exit&timeout=-1",
        "/p/log?since=x",
        "/p/log?stream=both",
        "/p/log?follow=perhaps",
    ] {
        assert_eq!(code(&get(&agent, path).1), "invalid_request", "{path}");
    }
    for signal in [json!("NOPE"), json!(0), json!(99)] {
        let (status, _) = call(&agent, "POST", "/p/signal", &json!({"signal": signal}));
        assert_eq!(status, 400);
    }
    assert_eq!(
        call(&agent, "POST", "/p/stop", &json!({"grace": -1})).0,
        400
    );
    assert_eq!(call(&agent, "PUT", "/p", &Value::Null).0, 405);
    assert_eq!(get(&agent, "/p/nothing").0, 404);
    assert_eq!(get(&agent, "/p").1["state"], "running");
}

#[test]
fn stop_ends_the_whole_tree_and_daemons_too() {
    let agent = Agent::start("bg-tree", None);
    let command = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do sleep 1; done' & \
                   (setsid sh -c 'echo $$ > second; sleep 600' &) ; \
                   while [ ! -s daemon ] || [ ! -s second ]; do sleep 0.01; done; echo up; sleep 600 & wait; wait";
    start(&agent, "tree", command, &json!({}));
    assert_eq!(get(&agent, "/tree/wait?for=log&text=up&timeout=60").0, 200);
    let pids = ["daemon", "second"].map(|f| std::fs::read_to_string(agent.path(f)).unwrap());
    assert!(pids.iter().all(|pid| alive(pid)));
    let (_, ended) = call(&agent, "POST", "/tree/stop", &json!({"grace": 0.3}));
    assert_eq!(
        (&ended["state"], &ended["signal"]),
        (&json!("ended"), &json!("SIGKILL"))
    );
    assert!(!pids.iter().any(|pid| alive(pid)));

    // What an ended process left behind is stopped too.
    start(&agent, "left", "setsid sh -c 'echo $$ > third; exec sleep 600' & while [ ! -s third ]; do sleep 0.01; done", &json!({}));
    assert_eq!(
        get(&agent, "/left/wait?for=exit&timeout=60").1["exit_code"],
        0
    );
    let pid = std::fs::read_to_string(agent.path("third")).unwrap();
    assert!(alive(&pid));
    call(&agent, "POST", "/left/stop", &json!({}));
    assert!(!alive(&pid));
}

#[test]
fn signals_reach_the_command() {
    let agent = Agent::start("bg-signal", None);
    let command =
        "trap 'echo got usr1' USR1; trap 'exit 7' HUP; echo ready; while :; do sleep 0.02; done";
    start(&agent, "s", command, &json!({}));
    assert_eq!(get(&agent, "/s/wait?for=log&text=ready&timeout=60").0, 200);
    assert_eq!(
        call(&agent, "POST", "/s/signal", &json!({"signal": "SIGUSR1"})).0,
        204
    );
    assert_eq!(
        get(&agent, "/s/wait?for=log&text=got%20usr1&timeout=60").0,
        200
    );
    assert_eq!(
        call(&agent, "POST", "/s/signal", &json!({"signal": 1})).0,
        204
    );
    assert_eq!(get(&agent, "/s/wait?for=exit&timeout=60").1["exit_code"], 7);
    let (status, refusal) = call(&agent, "POST", "/s/signal", &json!({"signal": 1}));
    assert_eq!((status, code(&refusal)), (409, "process_not_running"));
}

#[test]
fn restarts_are_counted_and_end_with_a_stop() {
    let agent = Agent::start("bg-restart", None);
    start(&agent, "always", "echo run", &json!({"restart": "always"}));
    wait_until("two restarts", || {
        get(&agent, "/always").1["restarts"].as_u64() >= Some(2)
    });
    let (_, stopped) = call(&agent, "POST", "/always/stop", &json!({}));
    assert_eq!(stopped["state"], "ended");
    let runs = records(&agent, "/always/log?stream=stdout");
    let count = stopped["restarts"].as_u64().unwrap() as usize + 1;
    assert_eq!(
        runs.iter()
            .filter(|(kind, _)| *kind == Kind::Stdout)
            .count(),
        count
    );

    let command = "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ $n -ge 2 ]";
    start(&agent, "flaky", command, &json!({"restart": "on-failure"}));
    let (_, ended) = get(&agent, "/flaky/wait?for=exit&timeout=60");
    assert_eq!(
        (&ended["restarts"], &ended["exit_code"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn what_runs_at_the_end_knows_how_it_ended() {
    let agent = Agent::start("bg-exit", None);
    let hook = "echo $WARDIAN_PROCESS $WARDIAN_EXIT_CODE-$WARDIAN_SIGNAL > $WARDIAN_PROCESS.new; mv $WARDIAN_PROCESS.new told-$WARDIAN_PROCESS";
    start(&agent, "code", "exit 4", &json!({"on_exit": hook}));
    start(&agent, "killed", "kill -9 $$", &json!({"on_exit": hook}));
    for (name, expected) in [("code", "code 4-\n"), ("killed", "killed -SIGKILL\n")] {
        let path = agent.path(&format!("told-{name}"));
        wait_until("the hook has run", || Path::new(&path).exists());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
    wait_until("the hook's own end is in the log", || {
        records(&agent, "/code/log")
            .iter()
            .any(|(_, text)| text.contains("on_exit"))
    });
}

#[test]
fn waits_end_with_the_process() {
    let agent = Agent::start("bg-waits", None);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for wait in [
        format!("for=port&port={port}"),
        format!("for=port&port={port}&path=/"),
        "for=log&text=never".to_owned(),
    ] {
        start(&agent, "dying", "sleep 600", &json!({}));
        let waiting = agent.open(&format!("GET /v1/processes/dying/wait?{wait}"), &[], b"");
        call(&agent, "POST", "/dying/signal", &json!({"signal": "KILL"}));
        let reply = read_reply(waiting);
        assert_eq!(reply.status, 409, "{wait}");
        let told: Value = serde_json::from_str(&reply.text()).unwrap();
        assert_eq!(code(&told), "process_ended");
        assert_eq!(told["error"]["process"]["state"], "ended");
        // And at once for who comes late.
        assert_eq!(get(&agent, &format!("/dying/wait?{wait}")).0, 409);
    }
    start(&agent, "slow", "sleep 600", &json!({}));
    for wait in [
        "for=exit",
        "for=log&text=x",
        &format!("for=port&port={port}"),
    ] {
        let (status, told) = get(&agent, &format!("/slow/wait?{wait}&timeout=0.05"));
        assert_eq!((status, code(&told)), (408, "wait_timeout"));
    }
}

#[test]
fn a_port_is_waited_for_until_it_answers_as_it_should() {
    let agent = Agent::start("bg-port", None);
    start(&agent, "any", "sleep 600", &json!({}));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(
        get(&agent, &format!("/any/wait?for=port&port={port}")),
        (200, json!({}))
    );
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        // The first connection was the one above.
        for answer in ["", "HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            if !answer.is_empty() {
                let mut head = [0; 1024];
                let count = stream.read(&mut head).unwrap();
                assert!(head[..count].starts_with(b"GET /health?x=1 HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    let wait = format!("/any/wait?for=port&port={port}&path=%2Fhealth%3Fx%3D1&timeout=60");
    assert_eq!(get(&agent, &wait), (200, json!({"status": 200})));
    server.join().unwrap();
}

#[test]
fn lines_are_found_that_came_before_and_that_come_later() {
    let agent = Agent::start("bg-lines", None);
    start(
        &agent,
        "l",
        "echo listening on 4242; sleep 0.3; printf 'prompt> '; sleep 600",
        &json!({}),
    );
    let (_, early) = get(&agent, "/l/wait?for=log&regex=on%20(%5Cd%2B)&timeout=60");
    assert_eq!(
        (&early["match"], &early["groups"]),
        (&json!("on 4242"), &json!(["4242"]))
    );
    let (_, again) = get(&agent, "/l/wait?for=log&text=listening&timeout=60");
    assert_eq!(again["cursor"], early["cursor"]);
    let (_, prompt) = get(&agent, "/l/wait?for=log&text=prompt&timeout=60");
    assert_eq!(prompt["line"], "prompt> ");
}

#[test]
fn a_log_keeps_its_cap_and_tells_the_gap() {
    let agent = Agent::start("bg-cap", None);
    let command = "yes 0123456789abcdef | head -c 3000000; echo last";
    start(&agent, "c", command, &json!({"log_limit": 262_144}));
    let (_, ended) = get(&agent, "/c/wait?for=exit&timeout=60");
    let (first, end) = (
        ended["log"]["start"].as_u64().unwrap(),
        ended["log"]["end"].as_u64().unwrap(),
    );
    assert!(end > 3_000_000 && end - first <= 262_144, "{first} {end}");
    let seen = records(&agent, "/c/log?since=0");
    assert_eq!(
        seen[0],
        (Kind::Gap, format!("{{\"lost\":{first},\"next\":{first}}}"))
    );
    let text = agent
        .call("GET /v1/processes/c/log", &[("Accept", "text/plain")], b"")
        .text();
    assert!(text.ends_with("cdef\nlast\n") || text.ends_with("last\n"));
    let tail = agent.call(
        "GET /v1/processes/c/log?since=-1",
        &[("Accept", "text/plain")],
        b"",
    );
    assert!(tail.text().is_empty() || text.ends_with(&tail.text()));
    let size: u64 = std::fs::read_dir(agent.path("logs/c"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 262_144 + 65_536, "{size}");
}

#[test]
fn a_follower_that_stops_costs_little_and_stalls_nobody() {
    use std::io::Read;
    let agent = Agent::start("bg-stalled", None);
    let gate = "while [ ! -e go ]; do sleep 0.01; done; head -c 200000000 /dev/zero; echo";
    start(&agent, "f", gate, &json!({"log_limit": 8_000_000}));
    let path = "GET /v1/processes/f/log?follow=1";
    let mut stalled: TcpStream = agent.open(path, &[], b"");
    stalled.read_exact(&mut [0; 64]).unwrap();
    std::fs::write(agent.path("go"), "").unwrap();
    assert_eq!(get(&agent, "/f/wait?for=exit&timeout=60").0, 200);
    assert!(
        agent.status_kib("VmHWM") < 64 * 1024,
        "{}",
        agent.status_kib("VmHWM")
    );
    // It reads on, and is told what it missed.
    let mut rest = Vec::new();
    stalled.read_to_end(&mut rest).unwrap();
    assert!(rest.windows(7).any(|w| w == b"{\"lost\""));
    assert!(rest.len() < 100_000_000);
}

#[test]
fn tampered_logs_are_gaps_and_nothing_worse() {
    let agent = Agent::start("bg-tampered", None);
    start(
        &agent,
        "t",
        "head -c 200000 /dev/zero; echo done; while [ ! -e go ]; do sleep 0.01; done; echo more",
        &json!({}),
    );
    assert_eq!(get(&agent, "/t/wait?for=log&text=done&timeout=60").0, 200);
    let file = std::fs::read_dir(agent.path("logs/t"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0xff; length as usize]).unwrap();
    let seen = records(&agent, "/t/log");
    assert_eq!(
        seen,
        [(
            Kind::Gap,
            format!("{{\"lost\":{length},\"next\":{length}}}")
        )]
    );
    std::fs::remove_dir_all(agent.path("logs")).unwrap();
    std::os::unix::fs::symlink("/etc", agent.path("logs")).unwrap();
    assert_eq!(get(&agent, "/t/log").0, 200);
    std::fs::remove_file(agent.path("logs")).unwrap();
    std::fs::write(agent.path("go"), "").unwrap();
    assert_eq!(get(&agent, "/t/wait?for=exit&timeout=60").1["exit_code"], 0);
    assert!(records(&agent, "/t/log")
        .iter()
        .all(|(kind, _)| *kind == Kind::Gap));
}
