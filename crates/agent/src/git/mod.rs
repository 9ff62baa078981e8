//! Git: the sandbox's own, run as its user, with answers for programs.
//!
//! Nothing a caller gives can become an option or a helper program: addresses, branches and
//! commits that begin with `-` are refused, paths stand behind `--` and are taken literally,
//! transports are limited to file, git, http, https and ssh. Credentials reach git by a helper
//! that reads them from git's environment, never by its arguments, and leave it in no answer.
//! Hooks and configuration of the repository and the user work as they do for the user.

mod clone;
mod command;
mod credentials;
mod environment;
mod local;
mod remote;
mod request;
pub(crate) mod service;

type Result<T> = std::result::Result<T, crate::http::native::Problem>;
