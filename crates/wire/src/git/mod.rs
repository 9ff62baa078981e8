//! What the real git says, read; and what it may be told.

pub mod failure;
pub mod log;
pub mod progress;
pub mod redact;
pub mod status;
pub mod url;

/// Splits at NUL bytes; what follows the last one is a part only if it is not empty.
fn records(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let parts = (!whole.is_empty()).then(|| whole.split(|&byte| byte == 0));
    parts.into_iter().flatten()
}
