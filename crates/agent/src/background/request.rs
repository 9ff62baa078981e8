//! What requests about background processes ask for, checked.

use super::status::Restart;
use super::Plan;
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::process::start;
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use wardian_wire::envd::process::ProcessConfig;
use wardian_wire::name;

/// How large a log may get unless the request says otherwise, and between what it may choose.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;
const LOG_LIMITS: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 40;
/// The longest a caller may wait or leave a process to end, in seconds.
const LONGEST: f64 = 604_800.0;
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The request for a start.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StartBody {
    command: Option<String>,
    argv: Option<Vec<String>>,
    name: Option<String>,
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    user: Option<String>,
    restart: Restart,
    on_exit: Option<String>,
    log_limit: Option<u64>,
}

/// A signal, by name or number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignalBody {
    pub(super) signal: SignalWord,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SignalWord {
    Number(i32),
    Name(String),
}

impl SignalWord {
    pub(super) fn number(&self) -> Result<i32, Problem> {
        let text = match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => name.clone(),
        };
        super::status::signal_number(&text)
            .ok_or_else(|| invalid(format!("there is no signal '{text}'")))
    }
}

/// How to stop.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StopBody {
    grace: Option<f64>,
}

impl StopBody {
    pub(super) fn grace(&self) -> Result<Duration, Problem> {
        seconds("grace", self.grace.unwrap_or(5.0))
    }
}

/// A start that can be made.
pub(super) struct Asked {
    pub(super) name: Option<String>,
    /// What a made-up name begins with.
    pub(super) stem: String,
    pub(super) log_limit: u64,
    pub(super) plan: Plan,
}

impl StartBody {
    /// Checks it against this sandbox.
    pub(super) async fn resolve(self, agent: &Agent) -> Result<Asked, Problem> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        let log_limit = self.log_limit.unwrap_or(LOG_LIMIT);
        if !LOG_LIMITS.contains(&log_limit) {
            let (least, most) = LOG_LIMITS.into_inner();
            return Err(invalid(format!(
                "log_limit is {log_limit}; it must be between {least} and {most} bytes"
            )));
        }
        let shell = shell().await;
        let (command, argv) = match (self.command, self.argv) {
            (Some(command), None) => (command.clone(), in_shell(shell, command)),
            (None, Some(argv)) => (argv.join(" "), argv),
            _ => return Err(invalid("give either command or argv")),
        };
        if command.is_empty() {
            return Err(invalid("the command is empty: nothing to run"));
        }
        let mut argv = argv.into_iter();
        let config = ProcessConfig {
            cmd: argv.next().unwrap_or_default(),
            args: argv.collect(),
            envs: self.env,
            cwd: self.cwd,
        };
        // There is no such user: what a caller said is wrong, not who the caller is.
        let user = agent.user(self.user.as_deref());
        let user = user.map_err(|failure| invalid(failure.message))?;
        let mut job = start::job(agent, &config, &user, false)?;
        job.usage = true;
        let on_exit = match self.on_exit {
            Some(command) if command.is_empty() || command.contains('\0') => {
                return Err(invalid("on_exit is no command"));
            }
            Some(command) => Some(in_shell(shell, command)),
            None => None,
        };
        Ok(Asked {
            stem: stem(&command),
            name: self.name,
            log_limit,
            plan: Plan {
                command,
                job,
                restart: self.restart,
                on_exit: on_exit.map(|argv| argv.into_iter().map(String::into_bytes).collect()),
            },
        })
    }
}

fn in_shell(shell: &str, command: String) -> Vec<String> {
    vec![shell.to_owned(), "-l".into(), "-c".into(), command]
}

/// bash, or sh where there is none.
async fn shell() -> &'static str {
    let there = |shell: &&&str| std::fs::metadata(shell).is_ok();
    let find = move || SHELLS.iter().find(there);
    let found = tokio::task::spawn_blocking(find).await;
    found.ok().flatten().copied().unwrap_or("/bin/sh")
}

/// Names are those of sandboxes: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    if name::is_valid(name) {
        return Ok(());
    }
    let problem = invalid(format!("'{}' is no name", name.escape_debug()));
    Err(problem.hint("1 to 63 of a-z, 0-9 and -, neither first nor last a -"))
}

/// What a made-up name begins with: the program's own, as far as a name may hold it.
fn stem(command: &str) -> String {
    let word = command.split_whitespace().next().unwrap_or("");
    let program = word.rsplit('/').next().unwrap_or("");
    let kept = program.to_ascii_lowercase();
    let kept: String = kept
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    match kept.trim_matches('-') {
        "" => "process".to_owned(),
        name => name.to_owned(),
    }
}

/// A number of seconds.
pub(super) fn seconds(what: &str, value: f64) -> Result<Duration, Problem> {
    if (0.0..=LONGEST).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(invalid(format!(
        "{what} is {value}; it must be between 0 and {LONGEST} seconds"
    )))
}

/// 400 `invalid_request`.
pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_names() {
        for (command, expected) in [
            ("python3 -m http.server", "python3"),
            ("/usr/bin/env x", "env"),
            ("./Run.sh", "run-sh"),
            ("((i++))", "i"),
            ("  ", "process"),
            ("!!!", "process"),
        ] {
            assert_eq!(stem(command), expected);
            assert!(check_name(&stem(command)).is_ok());
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert!(seconds("x", 0.0).is_ok());
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(seconds("x", bad).is_err(), "{bad}");
        }
    }
}
