//! How a terminal's program ended.

use crate::background::signal_name;
use crate::process::job::Report;
use tokio::time::Instant;
use wardian_wire::terminal::Notice;

/// How it ended, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// 128 and the signal's number, where one ended it; -1 where that is not known.
    pub(super) code: i32,
    pub(super) signal: Option<String>,
    pub(super) since: Instant,
}

impl Ending {
    /// From the supervisor's last word; `None` if it was killed before it could say one.
    pub(super) fn new(report: Option<Report>) -> Self {
        let (code, signal) = match report {
            Some(Report::Exited { code }) => (code, None),
            Some(Report::Signaled { signal, .. }) => (128 + signal, Some(signal_name(signal))),
            _ => (-1, None),
        };
        Self {
            code,
            signal,
            since: Instant::now(),
        }
    }

    pub(super) fn notice(&self) -> Notice {
        Notice::Exit {
            code: self.code,
            signal: self.signal.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_shells() {
        let code = |report| {
            let ending = Ending::new(report);
            (ending.code, ending.signal)
        };
        assert_eq!(code(Some(Report::Exited { code: 3 })), (3, None));
        let core_dumped = false;
        let killed = Report::Signaled {
            signal: 9,
            core_dumped,
        };
        assert_eq!(code(Some(killed)), (137, Some("SIGKILL".to_owned())));
        assert_eq!(code(None), (-1, None));
    }
}
