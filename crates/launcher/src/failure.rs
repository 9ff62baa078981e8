//! Failures as callers see them.

use crate::kernel::KernelError;
use rustix::io::Errno;
use wardian_wire::launcher::{Failure, FailureCode};

/// A failure of `code`.
pub(crate) fn failure(code: FailureCode, message: impl Into<String>) -> Failure {
    let message = message.into();
    Failure { code, message }
}

/// What the peer sent is not as it must be.
pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    failure(FailureCode::InvalidRequest, message)
}

/// A call failed; a full file system is told apart.
pub(crate) fn from_kernel(error: &KernelError) -> Failure {
    let code = match error.errno {
        Errno::NOSPC | Errno::DQUOT => FailureCode::NoSpace,
        _ => FailureCode::Kernel,
    };
    failure(code, error.to_string())
}
