//! /files: whole files in and out, as bytes.

pub(crate) mod access;
mod buffers;
pub(crate) mod compose;
pub(crate) mod content_type;
pub(crate) mod download;
pub(crate) mod part;
mod sink;
pub(crate) mod upload;

use crate::http::reply::{self, Reply};
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Why a call to /files failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FileError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl FileError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What the kernel said when `what` was done with `path`.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let status = match error.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::StorageFull | Kind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            Kind::IsADirectory
            | Kind::NotADirectory
            | Kind::InvalidFilename
            | Kind::FileTooLarge
            | Kind::ExecutableFileBusy
            | Kind::InvalidData
            | Kind::UnexpectedEof => StatusCode::BAD_REQUEST,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => StatusCode::FORBIDDEN,
            _ if error.raw_os_error() == Some(libc::ELOOP) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, format!("{what} {}: {error}", path.display()))
    }

    pub(crate) fn reply(&self) -> Reply {
        reply::rest_error(self.status, &self.message)
    }
}

/// A file that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    path: String,
    name: String,
    #[serde(rename = "type")]
    file_type: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl Written {
    pub(crate) fn new(path: &Path, metadata: BTreeMap<String, String>) -> Self {
        let name = path.file_name().unwrap_or_default();
        Self {
            path: path.to_string_lossy().into_owned(),
            name: name.to_string_lossy().into_owned(),
            file_type: "file",
            metadata,
        }
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let failed = |e: tokio::task::JoinError| {
        FileError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(failed(e)))
}
