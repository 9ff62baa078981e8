//! What a call to git says: where, and as whom.

use super::Result;
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::paths;
use crate::users::User;
use http::StatusCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use wardian_wire::git::url::is_revision;
use wardian_wire::path_text;

/// How long git may take unless the caller says otherwise, and at most, in seconds.
const TIMEOUT: f64 = 600.0;
const MAX_TIMEOUT: f64 = 86_400.0;

pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

/// A struct of a request with what all have: `path` or `path_b64`, `user`, `timeout`, `env`.
macro_rules! request {
    ($(#[$about:meta])* $name:ident { $($field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            path: Option<String>,
            path_b64: Option<String>,
            user: Option<String>,
            timeout: Option<f64>,
            #[serde(default)]
            env: std::collections::BTreeMap<String, String>,
            $(#[serde(default)] pub(super) $field: $kind,)*
        }

        impl $name {
            /// Where git is to run, and as whom.
            pub(super) fn place(&mut self, agent: &crate::agent::Agent) -> super::Result<super::request::Place> {
                super::request::Place::new(
                    agent,
                    self.user.as_deref(),
                    self.path.as_deref(),
                    self.path_b64.as_deref(),
                    self.timeout,
                    std::mem::take(&mut self.env),
                )
            }
        }
    };
}
pub(super) use request;

/// Where git runs, as whom, and for how long.
pub(super) struct Place {
    pub(super) user: User,
    /// `None` where the call names none.
    pub(super) path: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) env: BTreeMap<String, String>,
}

impl Place {
    /// Reads what all calls have in common.
    ///
    /// # Errors
    /// 400.
    pub(super) fn new(
        agent: &Agent,
        user: Option<&str>,
        path: Option<&str>,
        path_b64: Option<&str>,
        timeout: Option<f64>,
        env: BTreeMap<String, String>,
    ) -> Result<Self> {
        let user = agent.user(user.filter(|name| !name.is_empty()))?;
        let path = match path_text::read(path, path_b64) {
            Ok(path) => {
                let path = paths::resolve(&path, &user, None);
                Some(path.map_err(|error| invalid(error.to_string()))?)
            }
            Err(path_text::InvalidField::Missing) => None,
            Err(error) => return Err(invalid(format!("path {error}"))),
        };
        let seconds = timeout.unwrap_or(TIMEOUT);
        if !(seconds > 0.0 && seconds <= MAX_TIMEOUT) {
            return Err(invalid(format!(
                "timeout is a number above 0 and at most {MAX_TIMEOUT}"
            )));
        }
        Ok(Self {
            user,
            path,
            timeout: Duration::from_secs_f64(seconds),
            env,
        })
    }

    /// The repository's directory.
    ///
    /// # Errors
    /// 400 where the call names none.
    pub(super) fn repository(&self) -> Result<PathBuf> {
        self.path.clone().ok_or_else(|| invalid("path is missing"))
    }
}

/// `name`, if it can be a branch, tag or commit.
///
/// # Errors
/// 400.
pub(super) fn revision<'a>(field: &str, name: &'a str) -> Result<&'a str> {
    if is_revision(name) {
        Ok(name)
    } else {
        Err(invalid(format!("{field} can't be a branch or commit: it is empty, begins with '-', or holds blanks or control characters")))
    }
}
