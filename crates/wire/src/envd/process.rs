//! `process.Process`: running commands and terminals.

use super::{null_is_default, Empty};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: String,
    #[serde(deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub envs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// A terminal, and its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pty {
    pub size: Option<Size>,
}

/// In character cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Size {
    pub cols: u32,
    pub rows: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StartRequest {
    pub process: Option<ProcessConfig>,
    pub pty: Option<Pty>,
    pub tag: Option<String>,
    /// Absent means true, as old clients expect.
    pub stdin: Option<bool>,
    /// Wardian's own: run `process.cmd` as a command line of this session.
    pub session: Option<String>,
}

/// Which process is meant: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Selector {
    pub pid: Option<u32>,
    pub tag: Option<String>,
}

/// A request that names a process and perhaps more: Connect, Update, `SendInput`, `SendSignal`,
/// `CloseStdin` differ only in which of the other fields they read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProcessRequest {
    pub process: Option<Selector>,
    pub pty: Option<Pty>,
    pub input: Option<Input>,
    pub signal: Option<Signal>,
}

/// Bytes for a process: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Input {
    #[serde(with = "optional_bytes")]
    pub stdin: Option<Vec<u8>>,
    #[serde(with = "optional_bytes")]
    pub pty: Option<Vec<u8>>,
}

/// A signal by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Signal {
    Name(String),
    Number(i32),
}

impl Signal {
    /// The kernel's number of the two signals the protocol has.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        match self {
            Self::Name(name) if name == "SIGNAL_SIGTERM" => Some(15),
            Self::Name(name) if name == "SIGNAL_SIGKILL" => Some(9),
            Self::Number(number @ (9 | 15)) => Some(*number),
            _ => None,
        }
    }
}

/// One message of `StreamInput`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamInputRequest {
    pub start: Option<StreamInputStart>,
    pub data: Option<StreamInputData>,
    pub keepalive: Option<Empty>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamInputStart {
    pub process: Option<Selector>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamInputData {
    pub input: Option<Input>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListResponse {
    pub processes: Vec<ProcessInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessInfo {
    pub config: ProcessConfig,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What a Start or Connect stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventMessage {
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Start { pid: u32 },
    Data(Data),
    End(End),
    Keepalive {},
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    Stdout(#[serde(with = "crate::connect::bytes")] Vec<u8>),
    Stderr(#[serde(with = "crate::connect::bytes")] Vec<u8>),
    Pty(#[serde(with = "crate::connect::bytes")] Vec<u8>),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// -1 when a signal ended it.
    pub exit_code: i32,
    pub exited: bool,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Wardian's own: the command ended its session.
    #[serde(skip_serializing_if = "is_false")]
    pub session_ended: bool,
    /// Wardian's own: the command ended well, but what it did to its session was not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_error: Option<SessionError>,
}

/// Why a session is still what it was before a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionError {
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

impl End {
    /// It exited with `code`.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        let status = format!("exit status {code}");
        Self {
            exit_code: code,
            exited: true,
            error: (code != 0).then(|| status.clone()),
            status,
            session_ended: false,
            session_error: None,
        }
    }

    /// Signal `number` ended it.
    #[must_use]
    pub fn signaled(number: i32, core_dumped: bool) -> Self {
        let core = if core_dumped { " (core dumped)" } else { "" };
        let status = format!("signal: {}{core}", signal_text(number));
        Self {
            exit_code: -1,
            exited: false,
            error: Some(status.clone()),
            status,
            session_ended: false,
            session_error: None,
        }
    }

    /// How it ended is not known, because `why`.
    #[must_use]
    pub fn lost(why: &str) -> Self {
        Self {
            exit_code: -1,
            exited: false,
            status: "unknown".to_owned(),
            error: Some(why.to_owned()),
            session_ended: false,
            session_error: None,
        }
    }
}

/// The words clients of E2B see for a signal (those of Go on Linux), and its name.
const SIGNALS: [(&str, &str); 15] = [
    ("hangup", "SIGHUP"),
    ("interrupt", "SIGINT"),
    ("quit", "SIGQUIT"),
    ("illegal instruction", "SIGILL"),
    ("trace/breakpoint trap", "SIGTRAP"),
    ("aborted", "SIGABRT"),
    ("bus error", "SIGBUS"),
    ("floating point exception", "SIGFPE"),
    ("killed", "SIGKILL"),
    ("user defined signal 1", "SIGUSR1"),
    ("segmentation fault", "SIGSEGV"),
    ("user defined signal 2", "SIGUSR2"),
    ("broken pipe", "SIGPIPE"),
    ("alarm clock", "SIGALRM"),
    ("terminated", "SIGTERM"),
];

fn signal_text(number: i32) -> String {
    let index = usize::try_from(number - 1).ok();
    match index.and_then(|i| SIGNALS.get(i)) {
        Some((text, _)) => (*text).to_owned(),
        None => format!("signal {number}"),
    }
}

/// The name of the signal in a [`End::status`], its number where it has none here.
#[must_use]
pub fn signal_of(status: &str) -> Option<String> {
    let text = status.strip_prefix("signal: ")?;
    let text = text.strip_suffix(" (core dumped)").unwrap_or(text);
    let known = SIGNALS.iter().find(|(words, _)| *words == text);
    Some(known.map_or_else(
        || text.trim_start_matches("signal ").to_owned(),
        |(_, name)| (*name).to_owned(),
    ))
}

mod optional_bytes {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "crate::connect::bytes")] Vec<u8>);
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|w| w.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_clients_write_them() {
        let start: StartRequest = serde_json::from_str(
            r#"{"process":{"cmd":"/bin/bash","args":["-l","-c","x"],"envs":null,"new":1},"stdin":false}"#,
        )
        .unwrap();
        let process = start.process.unwrap();
        assert_eq!(process.args, ["-l", "-c", "x"]);
        assert_eq!((start.stdin, process.cwd), (Some(false), None));
        let input: ProcessRequest = serde_json::from_str(
            r#"{"process":{"pid":3},"input":{"stdin":"_-8"},"signal":"SIGNAL_SIGKILL"}"#,
        )
        .unwrap();
        assert_eq!(input.input.unwrap().stdin, Some(vec![0xff, 0xef]));
        assert_eq!(input.signal.unwrap().number(), Some(9));
    }

    #[test]
    fn events_as_clients_read_them() {
        let json = |event| serde_json::to_string(&EventMessage { event }).unwrap();
        assert_eq!(
            json(Event::Start { pid: 7 }),
            r#"{"event":{"start":{"pid":7}}}"#
        );
        assert_eq!(
            json(Event::Data(Data::Stdout(vec![0xff]))),
            r#"{"event":{"data":{"stdout":"/w=="}}}"#
        );
        assert_eq!(json(Event::Keepalive {}), r#"{"event":{"keepalive":{}}}"#);
        assert_eq!(
            json(Event::End(End::signaled(9, false))),
            r#"{"event":{"end":{"exitCode":-1,"exited":false,"status":"signal: killed","error":"signal: killed"}}}"#
        );
        assert_eq!(End::exited(0).error, None);
        assert_eq!(End::signaled(64, false).status, "signal: signal 64");
        for (number, name) in [(9, "SIGKILL"), (11, "SIGSEGV"), (64, "64")] {
            let status = End::signaled(number, true).status;
            assert_eq!(signal_of(&status).as_deref(), Some(name));
        }
        assert_eq!(signal_of(&End::exited(0).status), None);
    }
}
