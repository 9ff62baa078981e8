//! What is told of a process.

use super::log::now;
use crate::process::job::Report;
use rustix::process::Signal;
use serde::Serialize;
use wardian_wire::timestamp::rfc3339;

/// When a process is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    #[default]
    Never,
    OnFailure,
    Always,
}

impl Restart {
    /// Whether a process that ended so is started again.
    pub(crate) fn wants(self, ending: &Ending) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => ending.exit_code != Some(0),
            Self::Always => true,
        }
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    Restarting,
    Ended,
}

/// How one run of a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<String>,
    pub(crate) reason: String,
}

impl Ending {
    /// From what the supervisor said last; `None` if it said nothing.
    pub(crate) fn from_report(report: Option<Report>) -> Self {
        match report {
            Some(Report::Exited { code }) => Self {
                exit_code: Some(code),
                signal: None,
                reason: format!("exited with code {code}"),
            },
            Some(Report::Signaled {
                signal,
                core_dumped,
            }) => {
                let name = signal_name(signal);
                let core = if core_dumped { ", core dumped" } else { "" };
                Self {
                    exit_code: None,
                    reason: format!("ended by {name}{core}"),
                    signal: Some(name),
                }
            }
            _ => Self::failed("its supervisor was killed".to_owned()),
        }
    }

    /// An end without code or signal.
    pub(crate) fn failed(reason: String) -> Self {
        Self {
            exit_code: None,
            signal: None,
            reason,
        }
    }
}

/// CPU time, and the most memory that one process was resident with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu_micros: u64,
    pub(crate) peak_bytes: u64,
}

impl Used {
    /// What both used, one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            cpu_micros: self.cpu_micros.saturating_add(other.cpu_micros),
            peak_bytes: self.peak_bytes.max(other.peak_bytes),
        }
    }
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) pid: Option<u32>,
    pub(crate) state: State,
    pub(crate) ending: Option<Ending>,
    pub(crate) restarts: u32,
    pub(crate) started_at: u64,
    pub(crate) ended_at: Option<u64>,
    /// By earlier runs, and by this one as far as it has been reported.
    pub(crate) before: Used,
    pub(crate) reported: Used,
}

impl Status {
    /// Of a process that has just been started.
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            pid: Some(pid),
            state: State::Running,
            ending: None,
            restarts: 0,
            started_at: now(),
            ended_at: None,
            before: Used::default(),
            reported: Used::default(),
        }
    }

    /// It runs again.
    pub(crate) fn restarted(&mut self, pid: u32) {
        *self = Self {
            restarts: self.restarts,
            before: self.before.and(self.reported),
            ..Self::new(pid)
        };
    }

    /// A run is over.
    pub(crate) fn ended(&mut self, ending: Ending, state: State) {
        self.pid = None;
        self.state = state;
        self.ending = Some(ending);
        self.ended_at = Some(now());
    }
}

/// A process as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    name: String,
    pid: Option<u32>,
    command: String,
    state: State,
    exit_code: Option<i32>,
    signal: Option<String>,
    reason: Option<String>,
    restarts: u32,
    started_at: String,
    ended_at: Option<String>,
    cpu_seconds: f64,
    memory_peak_bytes: u64,
    log: Extent,
}

#[derive(Clone, Debug, Serialize)]
struct Extent {
    id: String,
    start: u64,
    end: u64,
}

impl View {
    /// Of `status`; `live` is what a run that goes on has used so far.
    pub(crate) fn new(
        name: &str,
        command: &str,
        status: &Status,
        live: Option<Used>,
        log: &super::log::Log,
    ) -> Self {
        let live = live.unwrap_or_default();
        let current = Used {
            cpu_micros: live.cpu_micros.max(status.reported.cpu_micros),
            peak_bytes: live.peak_bytes.max(status.reported.peak_bytes),
        };
        let used = status.before.and(current);
        let ending = status.ending.as_ref();
        let (start, end) = log.range();
        Self {
            name: name.to_owned(),
            pid: status.pid,
            command: command.to_owned(),
            state: status.state,
            exit_code: ending.and_then(|e| e.exit_code),
            signal: ending.and_then(|e| e.signal.clone()),
            reason: ending.map(|e| e.reason.clone()),
            restarts: status.restarts,
            started_at: moment(status.started_at),
            ended_at: status.ended_at.map(moment),
            cpu_seconds: used.cpu_micros as f64 / 1e6,
            memory_peak_bytes: used.peak_bytes,
            log: Extent {
                id: log.id.clone(),
                start,
                end,
            },
        }
    }

    /// How it ended, in words.
    pub(crate) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("ended")
    }
}

fn moment(micros: u64) -> String {
    let milliseconds = (micros / 1000 % 1000) as u32;
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    rfc3339(seconds, milliseconds * 1_000_000)
}

const SIGNALS: [(&str, Signal); 30] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("STKFLT", Signal::STKFLT),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("VTALRM", Signal::VTALARM),
    ("PROF", Signal::PROF),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("SYS", Signal::SYS),
];

/// The name of a signal.
pub(crate) fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number);
    known.map_or_else(
        || format!("signal {number}"),
        |(name, _)| format!("SIG{name}"),
    )
}

/// The number of a signal, by name (`TERM`, `SIGTERM`, in any case) or number.
pub(crate) fn signal_number(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_number = name.parse().ok();
    SIGNALS
        .iter()
        .find(|(known, signal)| *known == name || by_number == Some(signal.as_raw()))
        .map(|(_, signal)| signal.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "sigterm", "15", "SIGTERM"] {
            assert_eq!(signal_number(text), Some(15), "{text}");
        }
        for text in ["", "SIG", "0", "-9", "64", "TERMINATE", "999999999999"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
        for (name, signal) in SIGNALS {
            assert_eq!(signal_name(signal.as_raw()), format!("SIG{name}"));
        }
    }

    #[test]
    fn policies_restart_what_they_say() {
        let good = Ending::from_report(Some(Report::Exited { code: 0 }));
        let bad = Ending::from_report(Some(Report::Exited { code: 3 }));
        let killed = Ending::from_report(Some(Report::Signaled {
            signal: 9,
            core_dumped: false,
        }));
        assert_eq!(killed.signal.as_deref(), Some("SIGKILL"));
        for (policy, expected) in [
            (Restart::Never, [false, false, false]),
            (Restart::OnFailure, [false, true, true]),
            (Restart::Always, [true, true, true]),
        ] {
            assert_eq!([&good, &bad, &killed].map(|e| policy.wants(e)), expected);
        }
    }
}
