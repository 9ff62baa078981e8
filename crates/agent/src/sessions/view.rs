//! Sessions as callers see them.

use super::Session;
use base64::{engine::general_purpose::STANDARD, Engine};
use serde::Serialize;
use std::time::UNIX_EPOCH;
use wardian_wire::timestamp::rfc3339;

#[derive(Debug, Serialize)]
pub(super) struct View {
    name: String,
    user: String,
    cwd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd_b64: Option<String>,
    state: &'static str,
    exit_code: Option<i32>,
    created_at: String,
    commands: u64,
    waiting: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    pub(super) sessions: Vec<View>,
}

impl View {
    pub(super) fn of(session: &Session) -> Self {
        let inner = session.inner.borrow();
        let cwd = &inner.state.cwd;
        let exit_code = inner.ended.map(|(code, _)| code);
        let busy = session.turn.try_lock().is_err();
        let since = session
            .created_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let milliseconds = since.subsec_millis() * 1_000_000;
        Self {
            name: session.name.clone(),
            user: session.user.name.clone(),
            cwd: String::from_utf8_lossy(cwd).into_owned(),
            cwd_b64: std::str::from_utf8(cwd)
                .is_err()
                .then(|| STANDARD.encode(cwd)),
            state: match exit_code {
                Some(_) => "ended",
                None if busy => "busy",
                None => "ready",
            },
            exit_code,
            created_at: rfc3339(
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                milliseconds,
            ),
            commands: inner.commands,
            waiting: session.waiting.get(),
        }
    }
}
