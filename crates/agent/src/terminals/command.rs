//! What runs in a terminal.

use crate::agent::Agent;
use crate::http::native::Problem;
use crate::process::job::Job;
use crate::process::start;
use crate::users::{self, User};
use http::StatusCode;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wardian_wire::envd::process::ProcessConfig;
use wardian_wire::terminal::Size;

/// What runs where the user's own shell is not there.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// What every terminal's program finds in its environment, unless somebody says otherwise.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("TERM", "xterm-256color"),
    ("COLORTERM", "truecolor"),
    ("LANG", "C.UTF-8"),
];

/// A terminal as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// `None`: the user's shell.
    pub(super) argv: Option<Vec<String>>,
    pub(super) cwd: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) user: Option<String>,
    pub(super) size: Size,
}

/// A terminal's program, resolved to the last detail.
pub(super) struct Resolved {
    pub(super) argv: Vec<String>,
    pub(super) job: Job,
    pub(super) user: User,
}

impl Wanted {
    /// Finds out what exactly is to be run.
    ///
    /// # Errors
    /// 400 `invalid_request` for a user that is not there, an empty `argv`, or names, values and
    /// paths that can't be ones.
    pub(super) async fn resolve(&self, agent: &Agent) -> Result<Resolved, Problem> {
        let user = agent.user(self.user.as_deref())?;
        let shell = shell(&user).await;
        let argv = self.argv.clone().unwrap_or_else(|| vec![shell.clone()]);
        let Some((program, arguments)) = argv.split_first() else {
            let message = "argv is empty: nothing to run in the terminal";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message);
            return Err(problem.hint("leave argv out for the user's shell"));
        };
        let config = ProcessConfig {
            cmd: program.clone(),
            args: arguments.to_vec(),
            envs: self.environment(agent, &shell),
            cwd: self.cwd.clone(),
        };
        let job = start::job(agent, &config, &user, true)?;
        Ok(Resolved { argv, job, user })
    }

    /// Later ones win: what terminals have, what the sandbox says, what was asked for.
    fn environment(&self, agent: &Agent, shell: &str) -> BTreeMap<String, String> {
        let own = ENVIRONMENT.into_iter().chain([("SHELL", shell)]);
        let mut environment: BTreeMap<String, String> = own
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        environment.extend(agent.env());
        environment.extend(self.env.clone());
        environment
    }
}

/// The shell `user` has in /etc/passwd, if it is one: accounts that nobody is to log in to have
/// programs there that only say so. Else bash, else sh.
async fn shell(user: &User) -> String {
    let name = user.name.clone();
    let found = tokio::task::spawn_blocking(move || {
        let own = users::login_shell(&name).filter(|shell| is_shell(shell));
        own.or_else(|| {
            let standard = SHELLS.iter().find(|shell| is_program(Path::new(shell)));
            standard.map(|&shell| shell.to_owned())
        })
    });
    // An image without any shell says so when it is started.
    found.await.ok().flatten().unwrap_or("/bin/sh".to_owned())
}

fn is_shell(path: &str) -> bool {
    let path = Path::new(path);
    let name = path.file_name().unwrap_or_default();
    path.is_absolute() && name != "nologin" && name != "false" && is_program(path)
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
