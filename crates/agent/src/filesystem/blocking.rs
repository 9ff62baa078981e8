//! File operations run on a few threads of their own: a disk, or a file system the sandbox has
//! mounted itself, may take as long as it likes to answer.

use super::Result;
use wardian_wire::connect::{Code, Failure};

/// Runs `work` where it may block.
///
/// # Errors
/// That of `work`, or `internal` if it died.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())))
}
