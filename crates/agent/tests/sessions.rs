//! Sessions in a real bash.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use base64::{engine::general_purpose::STANDARD, Engine};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{json, Value};
use std::path::Path;
use support::{read_reply, wait_until, Agent};

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

fn post(agent: &Agent, path: &str, body: &Value) -> (u16, Value) {
    let reply = agent.call(&format!("POST {path}"), &JSON, body.to_string().as_bytes());
    let value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    (reply.status, value)
}

fn get(agent: &Agent, name: &str) -> Value {
    let reply = agent.call(&format!("GET /v1/sessions/{name}"), &[], b"");
    serde_json::from_slice(&reply.body).unwrap()
}

/// A home of its own: nobody's profile is a part of the test.
fn open(agent: &Agent, name: &str) {
    let body = json!({"name": name, "env": {"HOME": agent.path("home")}});
    let (status, made) = post(agent, "/v1/sessions", &body);
    assert_eq!(status, 201, "{made}");
}

/// Runs a command of session `s`.
fn run(agent: &Agent, command: &str) -> Value {
    let (status, result) = post(
        agent,
        "/v1/run",
        &json!({"session": "s", "command": command}),
    );
    assert_eq!(status, 200, "{command}: {result}");
    result
}

/// The same; what it printed, without the last line end.
fn out(agent: &Agent, command: &str) -> String {
    let result = run(agent, command);
    assert_eq!(result["exit_code"], 0, "{command}: {result}");
    result["stdout"]
        .as_str()
        .unwrap()
        .trim_end_matches('\n')
        .to_owned()
}

#[test]
fn everything_a_shell_is_persists() {
    let agent = Agent::start("persist", None);
    open(&agent, "s");
    run(
        &agent,
        "mkdir -p a/b; cd a; ln -s b link; cd link; pushd / >/dev/null; cd ~-",
    );
    run(
        &agent,
        "plain=1; export exported='two words'; declare -i n=4; declare -r fixed=f\n\
         list=(a 'b c' [7]=$'d\\ne'); declare -A map=([k]=v ['x y']=\"it's\" [$'\\n']=nl)\n\
         declare -n ref=plain; declare -l lower; export unset_but_exported; declare -a empty=()",
    );
    let made = run(
        &agent,
        "f() { local x=$1; echo \"f:$x\"; cat <<END\nhere $x\nEND\n}\n\
         g() { echo g; }; export -f g; function odd-name { echo odd; }\n\
         shopt -s extglob nullglob\n e() { case $1 in +(x)) echo xs;; esac; }\n\
         alias ll='echo aliased' two=ll; set -o pipefail; set -f; umask 027; set -- p 'q r'\n\
         trap 'echo usr1' USR1; IFS=:; (exit 3)",
    );
    assert_eq!(
        (&made["exit_code"], &made["stderr"]),
        (&json!(3), &json!(""))
    );
    assert_eq!(out(&agent, "echo $?"), "3");
    assert!(out(&agent, "pwd").ends_with("/a/link"));
    assert!(out(&agent, "cd ..; pwd; cd ~-").ends_with("/a"));
    assert!(out(&agent, "dirs -p | tail -n 1").ends_with("/a/link"));
    assert_eq!(
        out(&agent, "echo $plain \"$exported\" $((n += 1)) $fixed"),
        "1 two words 5 f"
    );
    assert_eq!(
        out(&agent, "n+=1; echo $n; (fixed=2) 2>/dev/null || echo no"),
        "6\nno"
    );
    assert_eq!(
        out(&agent, "echo ${#list[@]} \"${list[7]}\" \"${map['x y']}\""),
        "3 d\ne it's"
    );
    assert_eq!(
        out(&agent, "echo \"${map[$'\\n']}\" $ref; ref=9; echo $plain"),
        "nl 1\n9"
    );
    assert_eq!(
        out(
            &agent,
            "lower=ABC; echo $lower; declare -p unset_but_exported empty"
        ),
        "abc\ndeclare -x unset_but_exported\ndeclare -a empty=()"
    );
    assert_eq!(out(&agent, "env | grep -c ^exported=; bash -c g"), "1\ng");
    assert_eq!(out(&agent, "f 1; odd-name; e xxx"), "f:1\nhere 1\nodd\nxs");
    assert_eq!(out(&agent, "ll\ntwo"), "aliased\naliased");
    assert_eq!(
        out(
            &agent,
            "false | true || echo piped; echo * ; umask; echo \"$#$2\""
        ),
        "piped\n*\n0027\n2q r"
    );
    assert_eq!(
        out(&agent, "kill -USR1 $$; printf '%q' \"$IFS\""),
        "usr1\n:"
    );
    let info = get(&agent, "s");
    assert_eq!(info["state"], "ready");
    assert_eq!(info["commands"], 17);
    assert!(info["cwd"].as_str().unwrap().ends_with("/a/link"));
}

#[test]
fn the_end_of_a_command_is_its_own() {
    let agent = Agent::start("ends", None);
    open(&agent, "s");
    run(&agent, "x=kept");
    // Neither a syntax error, nor a kill, nor a timeout changes anything.
    let result = run(&agent, "x=1\nif )");
    assert_eq!(result["exit_code"], 2);
    assert!(
        result["stderr"].as_str().unwrap().contains("line 2"),
        "{result}"
    );
    assert_eq!(out(&agent, "echo $x; x=kept"), "1");
    let result = run(&agent, "x=lost; kill -9 $$");
    assert_eq!(
        (&result["exit_code"], &result["signal"]),
        (&json!(-1), &json!("SIGKILL"))
    );
    let body = json!({"session": "s", "command": "x=lost; while :; do :; done", "timeout": 0.3});
    let (_, result) = post(&agent, "/v1/run", &body);
    assert_eq!(
        (&result["timed_out"], &result["exit_code"]),
        (&json!(true), &json!(-1))
    );
    assert_eq!(out(&agent, "echo $x # comment"), "kept");
    // What is left running neither holds up the end, nor what comes next.
    let left = out(&agent, "(sleep 600; :) >/dev/null 2>&1 & echo $!");
    assert_eq!(out(&agent, "jobs; echo next"), "next");
    assert!(Path::new(&format!("/proc/{left}")).exists());
    out(&agent, &format!("kill {left}"));
    assert_eq!(run(&agent, "return 3; echo $?")["stdout"], "2\n");
    assert_eq!(out(&agent, "trap 'echo bye' EXIT; echo set"), "set");
    let result = run(&agent, "echo out; exit 7");
    assert_eq!(
        (&result["exit_code"], &result["session_ended"]),
        (&json!(7), &json!(true))
    );
    assert_eq!(result["stdout"], "out\nbye\n");
    let (status, error) = post(
        &agent,
        "/v1/run",
        &json!({"session": "s", "command": "true"}),
    );
    assert_eq!(
        (status, &error["error"]["code"]),
        (410, &json!("session_ended"))
    );
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exit code 7"),
        "{error}"
    );
    assert_eq!(get(&agent, "s")["state"], "ended");
    assert_eq!(agent.call("DELETE /v1/sessions/s", &[], b"").status, 204);
    for (command, code) in [("set -e; false; echo no", 1), ("exec sh -c 'exit 9'", 9)] {
        open(&agent, "s");
        let result = run(&agent, command);
        assert_eq!(
            (&result["exit_code"], &result["session_ended"]),
            (&json!(code), &json!(true))
        );
        agent.call("DELETE /v1/sessions/s", &[], b"");
    }
}

#[test]
fn what_holds_for_one_command_is_undone() {
    let agent = Agent::start("alone", None);
    open(&agent, "s");
    run(&agent, "A=old; cd /usr; readonly R=1");
    let body = json!({"session": "s", "command": "echo $A $B $GLOBAL $(pwd); C=3; A=x; cd bin; pwd",
        "env": {"A": "new", "B": "b", "GLOBAL": "no"}, "cwd": "/tmp", "stdin": "in"});
    let (_, result) = post(&agent, "/v1/run", &body);
    assert!(
        result["stdout"]
            .as_str()
            .unwrap()
            .starts_with("new b no /tmp\n"),
        "{result}"
    );
    assert_eq!(
        out(&agent, "echo $A-$B-$GLOBAL-$C-$(pwd)"),
        "old--yes-3-/usr"
    );
    let (_, result) = post(
        &agent,
        "/v1/run",
        &json!({"session": "s", "argv": ["cat", "-"], "stdin": "a'\nb"}),
    );
    assert_eq!(result["stdout"], "a'\nb");
    // The sandbox's environment changes under it.
    let change = json!({"envVars": {"GLOBAL": "2", "NEW": "n"}});
    assert_eq!(post(&agent, "/init", &change).0, 204);
    assert_eq!(out(&agent, "echo $GLOBAL$NEW; GLOBAL=mine"), "2n");
    assert_eq!(
        post(&agent, "/init", &json!({"envVars": {"NEW": null}})).0,
        204
    );
    assert_eq!(
        out(
            &agent,
            "echo $GLOBAL${NEW-gone}; env | grep -c ^GLOBAL=mine"
        ),
        "minegone\n1"
    );
    // A directory that is gone is no reason to be elsewhere.
    run(&agent, &format!("mkdir -p {0}; cd {0}", agent.path("gone")));
    std::fs::remove_dir(agent.path("gone")).unwrap();
    let (status, error) = post(
        &agent,
        "/v1/run",
        &json!({"session": "s", "command": "rm -rf *"}),
    );
    assert_eq!(
        (status, &error["error"]["code"]),
        (409, &json!("session_directory")),
        "{error}"
    );
    let again =
        json!({"session": "s", "command": format!("mkdir {}", agent.path("gone")), "cwd": "/"});
    assert_eq!(post(&agent, "/v1/run", &again).1["exit_code"], 0);
    assert!(out(&agent, "pwd").ends_with("/gone"));
}

#[test]
fn the_user_cannot_break_the_driver() {
    let agent = Agent::start("driver", None);
    let names = "eval declare alias trap unset exit set shopt printf cd pwd command export test \
                 umask return source . : [ true exec readonly local read pushd builtin";
    let hostile = format!(
        "for n in {names}; do command eval \"function $n {{ echo hijacked >&2; return 1; }}\"; done; \
         v=1"
    );
    for before in [
        hostile.as_str(),
        "alias builtin=false declare=false exit=false if=false '{=false' then=false; v=1",
        "set -eu; v=1",
        "shopt -s extdebug; set -E -T; v=1",
        "set -f -C -k -a -u; v=1",
        "IFS=$'abdeilprstu\\n 0_='; v=1",
        "set -o posix; v=1",
        "export POSIXLY_CORRECT=1 LC_ALL=C.UTF-8 LANG=xx; v=1",
        "BASH_XTRACEFD=2; set -x; v=1",
        "trap 'echo err' ERR; trap 'echo ret' RETURN; v=1",
        "shopt -s nocasematch xpg_echo failglob; PS4='$(echo ps4)'; v=1",
        "exec 3>&1 10>/dev/null 11>&1; v=1",
        "PATH=; HOME=; v=1",
        "n=0; trap 'n=$((n+1))' DEBUG; v=1",
        "unset -v IFS PWD OLDPWD HOME; v=1",
        "shopt -s expand_aliases; shopt -u extquote promptvars; set +B; v=1",
    ] {
        open(&agent, "s");
        let first = run(&agent, before);
        assert!(!first.to_string().contains("wardian"), "{before}: {first}");
        assert!(first.get("session_error").is_none(), "{before}: {first}");
        let second = run(&agent, "w=${v}2");
        assert_eq!(second["exit_code"], 0, "{before}: {second}");
        let third = run(
            &agent,
            "[[ $w == 12 ]] && /bin/echo fine || /bin/echo broken $w",
        );
        let text = third["stdout"].as_str().unwrap();
        assert!(text.contains("fine\n"), "{before}: {third}");
        assert!(!third.to_string().contains("builtin"), "{before}: {third}");
        assert_eq!(agent.call("DELETE /v1/sessions/s", &[], b"").status, 204);
    }
}

#[test]
fn tracing_shows_the_command_and_nothing_else() {
    let agent = Agent::start("trace", None);
    open(&agent, "s");
    run(&agent, "set -x; trap 'echo dbg' DEBUG; (exit 4)");
    let result = run(&agent, "echo $? $LINENO");
    assert_eq!(result["stdout"], "dbg\n4 2\n");
    let trace = result["stderr"].as_str().unwrap();
    assert_eq!(trace, "+++ echo dbg\n++ echo 4 2\n");
}

#[test]
fn descriptors_do_not_reach_what_the_command_starts() {
    let agent = Agent::start("leak", None);
    open(&agent, "s");
    assert_eq!(out(&agent, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    let seen = out(
        &agent,
        "sleep 600 >/dev/null 2>&1 & until [[ $(</proc/$!/comm) == sleep ]]; do :; done; \
         readlink /proc/$!/fd/* | grep -c memfd || :; kill $!",
    );
    assert_eq!(seen, "0");
    // Whoever writes there reaches nothing but the own session.
    open(&agent, "other");
    let garbage = "for n in /proc/$$/fd/*; do case $(readlink $n) in *memfd*) \
                   head -c 8000000 /dev/zero >&${n##*/}; echo found;; esac; done; v=1";
    let result = run(&agent, garbage);
    assert_eq!(result["stdout"], "found\n");
    assert!(
        result["session_error"]["message"]
            .as_str()
            .unwrap()
            .contains("what it was before"),
        "{result}"
    );
    assert_eq!(out(&agent, "echo ${v-unset}"), "unset");
    let (_, result) = post(
        &agent,
        "/v1/run",
        &json!({"session": "other", "command": "echo fine"}),
    );
    assert_eq!(result["stdout"], "fine\n");
}

#[test]
fn a_state_too_large_is_not_kept_and_told() {
    let agent = Agent::start("large", None);
    open(&agent, "s");
    run(&agent, "small=1");
    let result = run(&agent, "printf -v big '%*s' 5000000 x; small=2; echo done");
    assert_eq!(
        (&result["exit_code"], &result["stdout"]),
        (&json!(0), &json!("done\n"))
    );
    assert_eq!(result["session_error"]["code"], "session_too_large");
    assert_eq!(out(&agent, "echo $small${big-none}"), "1none");
    run(&agent, "printf -v big '%*s' 3000000 x");
    assert_eq!(out(&agent, "echo ${#big}"), "3000000");
    assert!(agent.status_kib("VmHWM") < 64 * 1024);
}

#[test]
fn sessions_run_side_by_side_and_their_commands_in_line() {
    let agent = Agent::start("line", None);
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    for name in &names {
        open(&agent, name);
    }
    // Each holds its session until all have begun.
    std::process::Command::new("mkfifo")
        .arg(agent.path("go"))
        .status()
        .unwrap();
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            let body = json!({"session": name, "command": ": >$$.up; n=1; read <go"});
            agent.open("POST /v1/run", &JSON, body.to_string().as_bytes())
        })
        .collect();
    let up = || {
        std::fs::read_dir(&agent.directory)
            .unwrap()
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "up"))
            .count()
    };
    wait_until("all run at once", || up() == 50);
    assert_eq!(get(&agent, "s7")["state"], "busy");
    // Those that wait keep their order; one that leaves never runs.
    let body = |command: &str| json!({"session": "s7", "command": command}).to_string();
    let mut waiting = Vec::new();
    for n in 2..6 {
        let command = body(&format!("echo {n} >>order; n={n}; touch ran-{n}"));
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream"),
        ];
        let stream = agent.open("POST /v1/run", &headers, command.as_bytes());
        // Its answer begins when it is in line.
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut &stream, &mut head).unwrap();
        if n == 3 {
            drop(stream);
        } else {
            waiting.push(stream);
        }
    }
    wait_until("one has left", || get(&agent, "s7")["waiting"] == 3);
    // Opening it for writing lets all who wait on.
    drop(
        std::fs::OpenOptions::new()
            .write(true)
            .open(agent.path("go"))
            .unwrap(),
    );
    for stream in running {
        assert_eq!(read_reply(stream).status, 200);
    }
    for mut stream in waiting {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stream, &mut rest).unwrap();
        assert!(rest.contains("event: exit"), "{rest}");
    }
    let order = std::fs::read_to_string(agent.path("order")).unwrap();
    assert_eq!(order, "2\n4\n5\n");
    let (_, result) = post(
        &agent,
        "/v1/run",
        &json!({"session": "s7", "command": "echo $n"}),
    );
    assert_eq!(result["stdout"], "5\n");
    // A session that is closed takes its command along.
    let body = json!({"session": "s8", "command": "echo $$ >pid; sleep 600"}).to_string();
    let stream = agent.open("POST /v1/run", &JSON, body.as_bytes());
    wait_until("it runs", || {
        std::fs::read_to_string(agent.path("pid")).is_ok_and(|p| p.ends_with('\n'))
    });
    assert_eq!(agent.call("DELETE /v1/sessions/s8", &[], b"").status, 204);
    let text = read_reply(stream).text();
    assert!(text.contains("SIGKILL"), "{text}");
}

#[test]
fn bad_requests_are_named() {
    let agent = Agent::start("refused", None);
    open(&agent, "s");
    for (path, body, status, code) in [
        ("sessions", json!({"name": "s"}), 409, "session_exists"),
        ("sessions", json!({"name": "S_"}), 400, "invalid_request"),
        ("sessions", json!({"nam": "x"}), 400, "invalid_request"),
        (
            "sessions",
            json!({"cwd": "/no/such"}),
            400,
            "invalid_request",
        ),
        (
            "sessions",
            json!({"user": "nobody-here"}),
            400,
            "invalid_request",
        ),
        (
            "sessions",
            json!({"env": {"A=": "x"}}),
            400,
            "invalid_request",
        ),
        (
            "run",
            json!({"session": "no", "command": "x"}),
            404,
            "session_not_found",
        ),
        (
            "run",
            json!({"session": "s", "command": " "}),
            400,
            "invalid_request",
        ),
        (
            "run",
            json!({"session": "s", "command": "x", "env": {"a-b": ""}}),
            400,
            "invalid_request",
        ),
        (
            "run",
            json!({"session": "s", "command": "x", "user": "nobody"}),
            400,
            "invalid_request",
        ),
        (
            "run",
            json!({"command": "x", "argv": ["x"]}),
            400,
            "invalid_request",
        ),
        ("run", json!({"argv": []}), 400, "invalid_request"),
        ("run", json!({"argv": ["/no/such"]}), 400, "invalid_request"),
        (
            "run",
            json!({"command": "x", "timeout": -1}),
            400,
            "invalid_request",
        ),
        ("run/x", json!({}), 404, "not_found"),
        ("sessions/x/y", json!({}), 404, "session_not_found"),
        ("sessions/s", json!({}), 405, "method_not_allowed"),
    ] {
        let (seen, error) = post(&agent, &format!("/v1/{path}"), &body);
        assert_eq!(
            (seen, &error["error"]["code"]),
            (status, &json!(code)),
            "{body}: {error}"
        );
    }
    let reply = agent.call("GET /v1/sessions", &[], b"");
    let list: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    for _ in 1..256 {
        assert_eq!(post(&agent, "/v1/sessions", &json!({})).0, 201);
    }
    let (status, error) = post(&agent, "/v1/sessions", &json!({}));
    assert_eq!(
        (status, &error["error"]["code"]),
        (409, &json!("too_many_sessions"))
    );
}

#[test]
fn run_needs_no_session() {
    let agent = Agent::start("run", None);
    let body = json!({"argv": ["cat"], "stdin_b64": STANDARD.encode(b"\xff\0"), "timeout": 60});
    let (status, result) = post(&agent, "/v1/run", &body);
    assert_eq!((status, &result["stdout_b64"]), (200, &json!("/wA=")));
    assert_eq!(
        (&result["truncated"], &result["session_ended"]),
        (&json!(false), &json!(false))
    );
    let body = json!({"command": "head -c 3000000 /dev/zero | tr '\\0' x; echo $V >&2; kill -TERM $$", "env": {"V": "v"}});
    let (_, result) = post(&agent, "/v1/run", &body);
    assert_eq!(result["stdout"].as_str().unwrap().len(), 1 << 20);
    assert_eq!(
        (&result["truncated"], &result["stderr"]),
        (&json!(true), &json!("v\n"))
    );
    assert_eq!(result["signal"], "SIGTERM");
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "text/event-stream"),
    ];
    let body = json!({"command": "echo a; echo b >&2; exit 3"}).to_string();
    let text = agent.call("POST /v1/run", &headers, body.as_bytes()).text();
    assert!(text.starts_with("event: start\ndata: {\"pid\":"), "{text}");
    for part in [
        "event: stdout\ndata: {\"data\":\"YQo=\"}",
        "event: stderr\ndata: {\"data\":\"Ygo=\"}",
        "event: exit\ndata: {\"exit_code\":3,",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

fn octal(value: &[u8]) -> String {
    let digits: String = value.iter().map(|b| format!("\\{b:03o}")).collect();
    format!("$'{digits}'")
}

/// Whatever bytes a variable, an element, a key, an alias or an argument is made of.
#[test]
fn bytes_survive() {
    let agent = Agent::start("bytes", None);
    open(&agent, "s");
    let odd = b"'\"\\$`\n\r\t\x01\x7f![]{}*~ \xc3\xa9\xff".to_vec();
    let byte = prop_oneof![1u8..=255, prop::sample::select(odd)];
    let value = prop::collection::vec(byte, 1..24);
    let cases = (value.clone(), value.clone(), value, any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&cases, |(a, b, c, utf8)| {
        let (x, y, z) = (octal(&a), octal(&b), octal(&c));
        let locale = if utf8 { "C.UTF-8" } else { "C" };
        run(
            &agent,
            &format!(
                "export LC_ALL={locale}; v={x}; a=({x} [5]={y}); unset m; declare -A m=([{z}]={x}); \
                 set -- {y} {z}; alias x={x}; f() {{ printf %s {z}; }}"
            ),
        );
        run(&agent, ":");
        let result = run(
            &agent,
            "printf '%s\\0' \"$v\" \"${a[5]}\" \"${!m[@]}\" \"${m[@]}\" \"$@\" \"${BASH_ALIASES[x]}\"; f",
        );
        let seen = match result["stdout_b64"].as_str() {
            Some(encoded) => STANDARD.decode(encoded).unwrap(),
            None => result["stdout"].as_str().unwrap().as_bytes().to_vec(),
        };
        let mut expected = Vec::new();
        for value in [&a, &b, &c, &a, &b, &c, &a] {
            expected.extend(value);
            expected.push(0);
        }
        expected.extend(&c);
        prop_assert_eq!(seen, expected, "{}", result);
        Ok(())
    });
    outcome.unwrap();
}
