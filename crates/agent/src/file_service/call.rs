//! What a call says: who acts, on which path, and how.

use super::problem::{invalid, Result};
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::http::{query, request};
use crate::paths;
use crate::users::User;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::str::FromStr;
use wardian_wire::path_text;

/// The most a JSON body may have, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The parameters of a query, each taken once; what nobody takes is refused.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    pub(super) fn of(request: &Request<Incoming>) -> Self {
        Self(query::pairs(request.uri().query()))
    }

    /// All values of a parameter, as bytes.
    pub(super) fn every(&mut self, name: &str) -> Vec<Vec<u8>> {
        let (found, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(key, _)| key == name.as_bytes());
        self.0 = rest;
        let found: Vec<(Vec<u8>, Vec<u8>)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter that is given at most once.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut values = self.every(name);
        let value = values.pop();
        if values.is_empty() {
            Ok(value)
        } else {
            Err(invalid(format!("the parameter {name} is given twice")))
        }
    }

    /// The same as text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes);
        text.map(Some)
            .map_err(|_| invalid(format!("the parameter {name} is not UTF-8")))
    }

    /// The same as a value of some form.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, form: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let value = text.parse();
        value
            .map(Some)
            .map_err(|_| invalid(format!("the parameter {name} is not {form}: '{text}'")))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        Ok(self.parsed(name, "true or false")?.unwrap_or(default))
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!(
                "there is no parameter '{}' here",
                String::from_utf8_lossy(name)
            ))),
        }
    }
}

/// Who acts, and where their relative paths start.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) user: User,
    workdir: Option<PathBuf>,
}

impl Actor {
    /// The user `name`, or the sandbox's default one.
    pub(super) fn new(agent: &Agent, name: Option<&str>) -> Result<Self> {
        let user = agent.user(name.filter(|n| !n.is_empty()));
        let user = user.map_err(|failure| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_request", failure.message)
        })?;
        Ok(Self {
            user,
            workdir: agent.default_workdir(),
        })
    }

    /// Where `path` leads.
    pub(super) fn resolve(&self, path: &[u8]) -> Result<PathBuf> {
        paths::resolve(path, &self.user, self.workdir.as_deref())
            .map_err(|error| invalid(error.to_string()))
    }

    /// Where the fields `<name>` and `<name>_b64` lead.
    pub(super) fn field(
        &self,
        name: &str,
        text: Option<&str>,
        base64: Option<&str>,
    ) -> Result<PathBuf> {
        let path = path_text::read(text, base64);
        self.resolve(&path.map_err(|error| invalid(format!("{name} {error}")))?)
    }
}

/// The actor and the path of a call that names both in its query.
pub(super) fn target(agent: &Agent, parameters: &mut Parameters) -> Result<(Actor, PathBuf)> {
    let user = parameters.text("user")?;
    let actor = Actor::new(agent, user.as_deref())?;
    let path = parameters.bytes("path")?.unwrap_or_default();
    let path = actor.resolve(&path)?;
    Ok((actor, path))
}

/// The JSON of a body.
pub(super) async fn message<T: DeserializeOwned>(body: &mut Incoming) -> Result<T> {
    let bytes = request::whole(body, MAX_BODY).await;
    let bytes = bytes.map_err(|failure| invalid(failure.message))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body: {error}")))
}
