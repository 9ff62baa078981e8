//! What a supervisor is told to run, and what it says back: plain bytes on its control socket.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A command, resolved to the last detail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Job {
    /// Program, then arguments.
    pub(crate) argv: Vec<Vec<u8>>,
    /// `KEY=value`.
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) cwd: Vec<u8>,
    /// Start in `/` if `cwd`, which nobody asked for, can't be entered.
    pub(crate) cwd_optional: bool,
    /// The one descriptor is a terminal.
    pub(crate) terminal: bool,
    /// Report what the command and its descendants used, each time before an end is reported.
    pub(crate) usage: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// The numbers, ascending, of what it has open beside its standard streams.
    pub(crate) extra: Vec<u32>,
}

impl Job {
    /// The job as bytes, its length first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        let flags = u32::from(self.cwd_optional)
            | u32::from(self.terminal) << 1
            | u32::from(self.usage) << 2;
        for number in [flags, self.uid, self.gid] {
            out.extend(number.to_le_bytes());
        }
        put_list(&mut out, &self.argv);
        put_list(&mut out, &self.env);
        put(&mut out, &self.cwd);
        for numbers in [&self.groups, &self.extra] {
            out.extend(length(numbers.len()));
            for number in numbers {
                out.extend(number.to_le_bytes());
            }
        }
        let total = length(out.len() - 4);
        out[..4].copy_from_slice(&total);
        out
    }

    /// Reads what [`Job::encode`] wrote, without its length.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let flags = input.number()?;
        let uid = input.number()?;
        let gid = input.number()?;
        let argv = input.list()?;
        let env = input.list()?;
        let cwd = input.bytes()?.to_vec();
        let groups = input.numbers()?;
        let extra = input.numbers()?;
        input.0.is_empty().then_some(Self {
            argv,
            env,
            cwd,
            cwd_optional: flags & 1 != 0,
            terminal: flags & 2 != 0,
            usage: flags & 4 != 0,
            uid,
            gid,
            groups,
            extra,
        })
    }

    pub(crate) fn program(&self) -> OsString {
        OsString::from_vec(self.argv.first().cloned().unwrap_or_default())
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length(bytes.len()));
    out.extend(bytes);
}

fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    out.extend(length(list.len()));
    for item in list {
        put(out, item);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn number(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    fn numbers(&mut self) -> Option<Vec<u32>> {
        let count = self.number()?;
        (0..count).map(|_| self.number()).collect()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.number()?;
        (0..count)
            .map(|_| self.bytes().map(<[u8]>::to_vec))
            .collect()
    }
}

/// What could not be done for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Fork = 1,
    Session = 2,
    Stdio = 3,
    User = 4,
    Cwd = 5,
    Exec = 6,
    Job = 7,
}

impl Stage {
    fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Fork,
            2 => Self::Session,
            3 => Self::Stdio,
            4 => Self::User,
            5 => Self::Cwd,
            6 => Self::Exec,
            _ => Self::Job,
        }
    }
}

/// The size of a [`Report`], in bytes.
pub(crate) const REPORT: usize = 17;
/// The size of an [`Order`], in bytes.
pub(crate) const ORDER: usize = 5;

/// From a supervisor to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Started {
        pid: u32,
    },
    Failed {
        stage: Stage,
        errno: i32,
    },
    Exited {
        code: i32,
    },
    Signaled {
        signal: i32,
        core_dumped: bool,
    },
    /// What all that has ended of the command used: CPU time, and the most memory one process
    /// was ever resident with.
    Usage {
        cpu_micros: u64,
        peak_bytes: u64,
    },
}

impl Report {
    pub(crate) fn encode(self) -> [u8; REPORT] {
        let (tag, first, second) = match self {
            Self::Started { pid } => (1, u64::from(pid), 0),
            Self::Failed { stage, errno } => (2, stage as u64, errno as u64),
            Self::Exited { code } => (3, code as u64, 0),
            Self::Signaled {
                signal,
                core_dumped,
            } => (4, signal as u64, u64::from(core_dumped)),
            Self::Usage {
                cpu_micros,
                peak_bytes,
            } => (5, cpu_micros, peak_bytes),
        };
        let mut bytes = [tag; REPORT];
        bytes[1..9].copy_from_slice(&first.to_le_bytes());
        bytes[9..].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; REPORT]) -> Option<Self> {
        let [tag, rest @ ..] = bytes;
        let [a, b, c, d, e, f, g, h, rest @ ..] = rest;
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let second = u64::from_le_bytes(rest);
        match tag {
            1 => Some(Self::Started { pid: first as u32 }),
            2 => Some(Self::Failed {
                stage: Stage::from_number(first as i32),
                errno: second as i32,
            }),
            3 => Some(Self::Exited { code: first as i32 }),
            4 => Some(Self::Signaled {
                signal: first as i32,
                core_dumped: second != 0,
            }),
            5 => Some(Self::Usage {
                cpu_micros: first,
                peak_bytes: second,
            }),
            _ => None,
        }
    }
}

/// From the agent to a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send a signal to the command itself.
    Signal(i32),
    /// Kill the command and all that descends from it.
    KillTree,
    /// Send a signal to the command and all that descends from it.
    SignalTree(i32),
}

impl Order {
    pub(crate) fn encode(self) -> [u8; ORDER] {
        let (tag, number) = match self {
            Self::Signal(number) => (1, number),
            Self::KillTree => (2, 0),
            Self::SignalTree(number) => (3, number),
        };
        let mut bytes = [tag; ORDER];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; ORDER]) -> Option<Self> {
        let [tag, a, b, c, d] = bytes;
        match tag {
            1 => Some(Self::Signal(i32::from_le_bytes([a, b, c, d]))),
            2 => Some(Self::KillTree),
            3 => Some(Self::SignalTree(i32::from_le_bytes([a, b, c, d]))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..5)
    }

    proptest! {
        #[test]
        fn jobs_survive(argv in strings(), env in strings(), cwd in prop::collection::vec(any::<u8>(), 0..9),
                        uid: u32, gid: u32, groups in prop::collection::vec(any::<u32>(), 0..4),
                        extra in prop::collection::vec(any::<u32>(), 0..3),
                        cwd_optional: bool, terminal: bool, usage: bool) {
            let job = Job { argv, env, cwd, cwd_optional, terminal, usage, uid, gid, groups, extra };
            let bytes = job.encode();
            prop_assert_eq!(u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize, bytes.len() - 4);
            prop_assert_eq!(Job::decode(&bytes[4..]), Some(job));
        }

        #[test]
        fn noise_is_refused_or_read(noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Job::decode(&noise);
        }

        #[test]
        fn reports_survive(a: i32, b: bool, c: u64, d: u64) {
            for report in [
                Report::Exited { code: a },
                Report::Signaled { signal: a, core_dumped: b },
                Report::Failed { stage: Stage::Cwd, errno: a },
                Report::Started { pid: a as u32 },
                Report::Usage { cpu_micros: c, peak_bytes: d },
            ] {
                prop_assert_eq!(Report::decode(report.encode()), Some(report));
            }
            for order in [Order::Signal(a), Order::SignalTree(a), Order::KillTree] {
                prop_assert_eq!(Order::decode(order.encode()), Some(order));
            }
        }
    }
}
