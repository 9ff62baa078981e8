//! TLS with upstream servers, always verified for the name that the sandbox dialled.

use rustls::client::Resumption;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;
use wardian_wire::egress::destination::Host;
use wardian_wire::egress::event::Reason;

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The most servers whose sessions are kept for resuming.
const MAX_SESSIONS: usize = 4096;
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Its certificate is not valid for the name.
    #[error("{0}")]
    Certificate(String),
    /// It broke off, or speaks nothing that is spoken here.
    #[error("TLS handshake with the server failed: {0}")]
    Handshake(io::Error),
    #[error("TLS handshake with the server took longer than 10 s")]
    Timeout,
}

impl ConnectError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Certificate(_) => Reason::Certificate,
            Self::Handshake(_) => Reason::Upstream,
            Self::Timeout => Reason::Timeout,
        }
    }
}

/// Whom the node trusts, and what it remembers of servers it has met.
#[derive(Debug)]
pub(crate) struct Trust {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// A server's connection inside its TLS.
#[derive(Debug)]
pub(crate) struct Connected<S> {
    pub(crate) stream: TlsStream<S>,
    /// Whether HTTP/2 was agreed on.
    pub(crate) http2: bool,
}

impl Trust {
    /// Trusts the certificates of a PEM text. What can't be read of it is left aside; where
    /// nothing can be read, no server is trusted.
    ///
    /// # Errors
    /// Those of setting TLS up.
    pub(crate) fn new(trusted: &str) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        let mut text = trusted.as_bytes();
        let found = rustls_pemfile::certs(&mut text).filter_map(Result::ok);
        let (added, ignored) = roots.add_parsable_certificates(found);
        if added == 0 {
            tracing::warn!("no certificates to verify servers against: opened TLS will fail");
        }
        tracing::debug!(added, ignored, "trust of opened connections");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut any = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        any.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        any.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        let mut http1 = any.clone();
        http1.alpn_protocols = vec![HTTP1.to_vec()];
        let (any, http1) = (Arc::new(any), Arc::new(http1));
        Ok(Self { any, http1 })
    }

    /// Shakes hands with a server that must be `subject`. `may_http2`: HTTP/2 is offered.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect<S>(
        &self,
        subject: &Host,
        stream: S,
        may_http2: bool,
    ) -> Result<Connected<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = if may_http2 { &self.any } else { &self.http1 };
        let shaken = TlsConnector::from(Arc::clone(config)).connect(name(subject)?, stream);
        let stream = tokio::time::timeout(HANDSHAKE_TIME, shaken)
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|error| explain(error, subject))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok(Connected { stream, http2 })
    }
}

fn name(subject: &Host) -> Result<ServerName<'static>, ConnectError> {
    match subject {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => DnsName::try_from(name.as_str().to_owned())
            .map(ServerName::DnsName)
            .map_err(|_| ConnectError::Certificate(format!("{name} can't be in a certificate"))),
    }
}

fn explain(error: io::Error, subject: &Host) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return ConnectError::Handshake(error);
    };
    let why = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "nobody the node trusts has signed it".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        other => other.to_string(),
    };
    ConnectError::Certificate(format!(
        "the certificate of {subject} is not accepted: {why}"
    ))
}
