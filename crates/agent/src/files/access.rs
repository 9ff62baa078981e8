//! Who may read or write a file, and which user and path are meant.

use super::FileError;
use crate::agent::Agent;
use crate::http::{query, router};
use crate::paths;
use crate::users::User;
use http::request::Parts;
use http::StatusCode;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use wardian_wire::signature::{self, Operation};

/// What a request to /files asks for.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) user: User,
    default: Option<PathBuf>,
    /// The path as given; multipart uploads may have none.
    pub(crate) path: Option<Vec<u8>>,
}

impl Access {
    /// Checks the token or the signature, then the user.
    ///
    /// # Errors
    /// 401 for a missing or wrong token, signature or user.
    pub(crate) fn check(
        agent: &Agent,
        head: &Parts,
        operation: Operation,
    ) -> Result<Self, FileError> {
        let query = head.uri.query();
        let unauthorized = |message: String| FileError::new(StatusCode::UNAUTHORIZED, message);
        let path = query::parameter(query, "path");
        let username = query::text_parameter(query, "username").filter(|u| !u.is_empty());
        if !agent.admits(router::token(&head.headers)) {
            let expiry = query::text_parameter(query, "signature_expiration");
            let expiry = match expiry.map(|e| e.parse::<i64>()) {
                None => None,
                Some(Ok(expiry)) => Some(expiry),
                Some(Err(_)) => {
                    let message = "signature_expiration is not a number";
                    return Err(FileError::bad(message));
                }
            };
            let expected = signature::sign(
                path.as_deref().unwrap_or_default(),
                operation,
                username.as_deref().unwrap_or_default(),
                &agent.access_token().unwrap_or_default(),
                expiry,
            );
            let given = query::text_parameter(query, "signature");
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
            signature::check(given.as_deref(), &expected, expiry, now)
                .map_err(|e| unauthorized(e.to_string()))?;
        }
        let user = agent.user(username.as_deref());
        Ok(Self {
            user: user.map_err(|failure| unauthorized(failure.message))?,
            default: agent.default_workdir(),
            path: path.filter(|p| !p.is_empty()),
        })
    }

    /// Where `path` leads for this user.
    ///
    /// # Errors
    /// 400 for what can't be a path.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<PathBuf, FileError> {
        paths::resolve(path, &self.user, self.default.as_deref())
            .map_err(|error| FileError::bad(error.to_string()))
    }
}
