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
        }
    }
}

/// The words clients of E2B see for a signal (those of Go on Linux).
fn signal_text(number: i32) -> String {
    const TEXTS: [&str; 15] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
    ];
    let index = usize::try_from(number - 1).ok();
    match index.and_then(|i| TEXTS.get(i)) {
        Some(text) => (*text).to_owned(),
        None => format!("signal {number}"),
    }
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
    }
}
