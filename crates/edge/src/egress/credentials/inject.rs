//! Credentials put in by a rule, made ready once for all its requests.

use super::sigv4::Signer;
use super::{basic, names, query, CredentialError};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use wardian_wire::egress::policy::Injection;
use wardian_wire::percent;

/// Header lines that frame or address the message, or belong to one connection: a value put
/// there could turn the request into another one than the rule was asked about.
const FRAMING: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
];

/// Whether no credential may stand in this header.
pub(super) fn frames(name: &HeaderName) -> bool {
    FRAMING.contains(&name.as_str())
}

/// A credential that only needs its place.
pub(super) enum Ready {
    Header {
        name: HeaderName,
        value: HeaderValue,
    },
    Query {
        name: Vec<u8>,
        piece: String,
    },
    Signature(Box<Signer>),
}

impl Ready {
    /// Checks and encodes a credential.
    ///
    /// # Errors
    /// It does not fit into its place.
    pub(super) fn new(injection: &Injection) -> Result<Self, CredentialError> {
        let unfit = |place: String| CredentialError::Value {
            secrets: names(injection.secrets()),
            place,
        };
        match injection {
            Injection::Header { name, value, .. } => {
                let place = || format!("header {name}");
                let name: HeaderName = name.parse().map_err(|_| unfit(place()))?;
                if frames(&name) {
                    return Err(CredentialError::Framing(name.to_string()));
                }
                let value = sensitive(value.as_bytes()).ok_or_else(|| unfit(place()))?;
                Ok(Self::Header { name, value })
            }
            Injection::Query { name, value, .. } => Ok(Self::Query {
                name: name.as_bytes().to_vec(),
                piece: format!("{}={}", percent::encoded(name), percent::encoded(value)),
            }),
            Injection::Basic {
                username, password, ..
            } => {
                let place = || "the user name of Basic credentials".to_owned();
                if username.contains(':') {
                    return Err(unfit(place()));
                }
                let text = basic::encoded(format!("{username}:{password}").as_bytes());
                Ok(Self::Header {
                    name: header::AUTHORIZATION,
                    value: sensitive(text.as_bytes()).ok_or_else(|| unfit(place()))?,
                })
            }
            Injection::Sigv4 { .. } => {
                let signer =
                    Signer::new(injection).ok_or_else(|| unfit("an AWS signature".to_owned()))?;
                Ok(Self::Signature(Box::new(signer)))
            }
        }
    }

    /// Puts it in, in place of what the sandbox sent there. A signature is made elsewhere, once
    /// everything else stands.
    ///
    /// # Errors
    /// The address would be too long.
    pub(super) fn put_in(&self, head: &mut Parts) -> Result<(), CredentialError> {
        match self {
            Self::Header { name, value } => {
                head.headers.insert(name, value.clone());
            }
            Self::Query { name, piece } => {
                let edited = query::with(head.uri.query(), name, piece);
                query::set(&mut head.uri, Some(edited.as_bytes()))?;
            }
            Self::Signature(_) => {}
        }
        Ok(())
    }
}

/// A header value that logs and compression tables do not keep.
pub(super) fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}
