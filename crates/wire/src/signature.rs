//! Signed file addresses: who holds one may read or write that path without the access token.
//!
//! `v1_` + unpadded standard base64 of SHA-256 over `path:operation:user:token[:expiry]`.

use base64::{engine::general_purpose::STANDARD_NO_PAD, Engine};
use sha2::{Digest, Sha256};

/// What the address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
}

/// Why a signature is no good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("missing signature query parameter")]
    Missing,
    #[error("invalid signature")]
    Invalid,
    #[error("signature is already expired")]
    Expired,
}

/// Signs access to `path` (as the client writes it) for `user` (empty when unset) until `expiry`
/// (seconds since 1970; `None`: for ever).
#[must_use]
pub fn sign(
    path: &[u8],
    operation: Operation,
    user: &str,
    token: &str,
    expiry: Option<i64>,
) -> String {
    let operation = match operation {
        Operation::Read => "read",
        Operation::Write => "write",
    };
    let mut hash = Sha256::new();
    hash.update(path);
    hash.update(format!(":{operation}:{user}:{token}"));
    if let Some(expiry) = expiry {
        hash.update(format!(":{expiry}"));
    }
    format!("v1_{}", STANDARD_NO_PAD.encode(hash.finalize()))
}

/// Checks a signature at the time `now` (seconds since 1970).
///
/// # Errors
/// [`SignatureError`], expiry only for a signature that is otherwise good.
pub fn check(
    given: Option<&str>,
    expected: &str,
    expiry: Option<i64>,
    now: i64,
) -> Result<(), SignatureError> {
    let given = given.ok_or(SignatureError::Missing)?;
    if !crate::token::same(given.as_bytes(), expected.as_bytes()) {
        return Err(SignatureError::Invalid);
    }
    if expiry.is_some_and(|expiry| expiry < now) {
        return Err(SignatureError::Expired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_clients_do() {
        // SHA-256 of "/home/user/a.txt:read:user:token:1700000000", computed with Python's hashlib.
        let signature = sign(
            b"/home/user/a.txt",
            Operation::Read,
            "user",
            "token",
            Some(1_700_000_000),
        );
        assert_eq!(signature, "v1_oi+JMwo0fKyp3VBFSSBGMPzPuRvThDduSlyHJH/cJHQ");
    }

    #[test]
    fn each_part_counts() {
        let good = sign(b"/a", Operation::Read, "", "t", Some(10));
        assert_eq!(check(Some(&good), &good, Some(10), 10), Ok(()));
        assert_eq!(
            check(Some(&good), &good, Some(10), 11),
            Err(SignatureError::Expired)
        );
        assert_eq!(check(None, &good, None, 0), Err(SignatureError::Missing));
        for other in [
            sign(b"/b", Operation::Read, "", "t", Some(10)),
            sign(b"/a", Operation::Write, "", "t", Some(10)),
            sign(b"/a", Operation::Read, "root", "t", Some(10)),
            sign(b"/a", Operation::Read, "", "u", Some(10)),
            sign(b"/a", Operation::Read, "", "t", Some(11)),
            sign(b"/a", Operation::Read, "", "t", None),
        ] {
            assert_eq!(
                check(Some(&other), &good, Some(10), 0),
                Err(SignatureError::Invalid)
            );
        }
    }
}
