//! Why a credential could not be put into a request, or not be masked in its answer.

/// Names secrets, never shows their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    /// `secrets` are names.
    #[error("{secrets} cannot stand in {place}: a character in it does not fit there")]
    Value { secrets: String, place: String },
    #[error("header {0} is about the connection and cannot carry a credential")]
    Framing(String),
    #[error("the request is too large with its secrets put in")]
    TooLarge,
    #[error("the request cannot be signed: {0}")]
    Signature(&'static str),
    #[error("the chunks of the signed body are malformed: {0}")]
    Chunks(&'static str),
    #[error("the body must be read to be signed, and {0}")]
    Held(&'static str),
    #[error("the answer is encoded though it was asked for as it is, so it cannot be masked")]
    Encoded,
    #[error("the answer is only a part, in which half a secret could not be masked")]
    Partial,
}
