//! The node's certificate, read again when told to.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::ServerConfig;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read.
    #[error("reading {path}: {source}; give a PEM file that the edge's user may read")]
    Read { path: PathBuf, source: io::Error },
    /// The file holds no certificate or no key.
    #[error("{path} holds no {what} in PEM form")]
    Empty { path: PathBuf, what: &'static str },
    /// Certificate and key do not fit.
    #[error("certificate and key can't be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate in use and where it came from.
#[derive(Debug)]
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificate {
    /// Reads certificate chain and key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let current = RwLock::new(read(&certificate, &key)?);
        Ok(Self {
            certificate,
            key,
            current,
        })
    }

    /// Reads both files again; connections made from now on use them. On an error the old
    /// certificate stays in use.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// What new connections are to be met with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain_bytes = read_file(certificate)?;
    let chain: Vec<CertificateDer<'static>> = rustls_pemfile::certs(&mut chain_bytes.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Read {
            path: certificate.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            path: certificate.to_owned(),
            what: "certificate",
        });
    }
    let key_bytes = read_file(key)?;
    let private: PrivateKeyDer<'static> = rustls_pemfile::private_key(&mut key_bytes.as_slice())
        .map_err(|source| TlsError::Read {
            path: key.to_owned(),
            source,
        })?
        .ok_or_else(|| TlsError::Empty {
            path: key.to_owned(),
            what: "private key",
        })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
