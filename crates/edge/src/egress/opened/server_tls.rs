//! Ends a sandbox's TLS at the edge, in the name of whom it dialled.

use super::leaf::Leaves;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;
use wardian_wire::egress::destination::Host;

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const HTTP2: &[u8] = b"h2";

/// Why a sandbox's TLS came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// No certificate can be made for the name.
    #[error("no certificate can be made for the name")]
    NoLeaf,
    /// The client broke off, or offered nothing that is spoken here.
    #[error("handshake with the sandbox failed: {0}")]
    Handshake(#[from] io::Error),
    /// It took too long.
    #[error("handshake with the sandbox took too long")]
    Timeout,
    /// The name in the hello is not the one that was dialled.
    #[error("the hello names another host than the one dialled")]
    OtherName,
}

/// A sandbox's connection without its TLS.
#[derive(Debug)]
pub(crate) struct Accepted<S> {
    pub(crate) stream: TlsStream<S>,
    /// Whether HTTP/2 was agreed on.
    pub(crate) http2: bool,
}

/// Shakes hands as `subject`.
///
/// # Errors
/// [`AcceptError`].
pub(crate) async fn accept<S>(
    leaves: &Leaves,
    subject: &Host,
    stream: S,
) -> Result<Accepted<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = leaves.config(subject).ok_or(AcceptError::NoLeaf)?;
    let shaken = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE_TIME, shaken)
        .await
        .map_err(|_| AcceptError::Timeout)??;
    let session = stream.get_ref().1;
    // The first bytes were checked before; this is what TLS itself has understood of them.
    let fits = match (session.server_name(), subject) {
        (Some(asked), Host::Name(name)) => asked.eq_ignore_ascii_case(name.as_str()),
        (None, Host::Address(_)) => true,
        _ => false,
    };
    if !fits {
        return Err(AcceptError::OtherName);
    }
    let http2 = session.alpn_protocol() == Some(HTTP2);
    Ok(Accepted { stream, http2 })
}
