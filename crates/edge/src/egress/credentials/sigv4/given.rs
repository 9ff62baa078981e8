//! The signature that the sandbox made with keys of no worth: what it names is taken from it.

use super::super::{query, CredentialError};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Parameters of a signature in the query that are made anew; date and expiry stay.
pub(super) const PARAMETERS: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];
const MAX_SIGNED_HEADERS: usize = 100;

/// A signature as it came.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Given {
    /// `YYYYMMDD`.
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) place: Place,
}

/// Where a signature stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    Header,
    /// In the query, with `X-Amz-Date` of that time: a presigned address.
    Query {
        time: String,
    },
}

impl Given {
    /// Takes the signature out of a request; `None` if there is none of this kind.
    ///
    /// # Errors
    /// There are several, it is of a kind that cannot be made anew, or it is malformed.
    pub(in super::super) fn take(head: &mut Parts) -> Result<Option<Self>, CredentialError> {
        let in_header = Self::take_header(&mut head.headers)?;
        let in_query = Self::take_query(head)?;
        if in_header.is_some() && in_query.is_some() {
            return Err(malformed("one stands in a header and another in the query"));
        }
        Ok(in_header.or(in_query))
    }

    fn take_header(headers: &mut HeaderMap) -> Result<Option<Self>, CredentialError> {
        let lines: Vec<HeaderValue> = headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .cloned()
            .collect();
        headers.remove(header::AUTHORIZATION);
        if lines.len() > 1 {
            return Err(malformed("there are several Authorization headers"));
        }
        let Some(text) = lines.first().and_then(|line| line.to_str().ok()) else {
            return Ok(None);
        };
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        refuse_other_algorithms(scheme)?;
        if scheme != ALGORITHM {
            return Ok(None);
        }
        let mut fields = [None; 3];
        for field in rest.split(',') {
            let (name, value) = field.trim().split_once('=').unwrap_or_default();
            let at = ["Credential", "SignedHeaders", "Signature"]
                .iter()
                .position(|each| *each == name);
            let slot = at.and_then(|at| fields.get_mut(at));
            if slot.is_none_or(|slot| slot.replace(value).is_some()) {
                return Err(malformed(
                    "its Authorization header has other or repeated parts",
                ));
            }
        }
        let [Some(credential), Some(signed), Some(signature)] = fields else {
            return Err(malformed("a part of its Authorization header is missing"));
        };
        Self::parse(credential, signed, signature, Place::Header).map(Some)
    }

    fn take_query(head: &mut Parts) -> Result<Option<Self>, CredentialError> {
        let Some(text) = head
            .uri
            .query()
            .filter(|query| query.contains('-') || query.contains('%'))
        else {
            return Ok(None);
        };
        let [algorithm, credential, signed, _, signature] = PARAMETERS.map(|name| only(text, name));
        let time = only(text, "X-Amz-Date")?;
        let Some(algorithm) = algorithm? else {
            return Ok(None);
        };
        refuse_other_algorithms(&algorithm)?;
        let (Some(credential), Some(signed), Some(signature), Some(time)) =
            (credential?, signed?, signature?, time)
        else {
            return Err(malformed("a parameter of it is missing in the query"));
        };
        if algorithm != ALGORITHM {
            return Err(malformed("its algorithm is not known"));
        }
        let given = Self::parse(&credential, &signed, &signature, Place::Query { time })?;
        let rest = query::without(text, &PARAMETERS);
        query::set(&mut head.uri, rest.as_deref().map(str::as_bytes))?;
        Ok(Some(given))
    }

    fn parse(
        credential: &str,
        signed: &str,
        signature: &str,
        place: Place,
    ) -> Result<Self, CredentialError> {
        let mut scope = credential.rsplitn(5, '/');
        let parts = [(); 5].map(|()| scope.next().unwrap_or_default());
        let [end, service, region, date, key] = parts;
        let dated = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        if end != "aws4_request" || !is_label(service) || !is_label(region) || key.is_empty() {
            return Err(malformed(
                "its credential is not key/date/region/service/aws4_request",
            ));
        }
        if !dated {
            return Err(malformed(
                "the date of its credential is not of eight digits",
            ));
        }
        if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed("it is not of 64 hexadecimal digits"));
        }
        let signed_headers: Vec<String> = signed.split(';').map(str::to_owned).collect();
        let named = |name: &String| name.bytes().all(is_name) && !name.is_empty();
        if signed_headers.len() > MAX_SIGNED_HEADERS || !signed_headers.iter().all(named) {
            return Err(malformed(
                "its signed headers are no list of lower-case names",
            ));
        }
        Ok(Self {
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers,
            place,
        })
    }
}

/// Whether a text may be a region or a service.
pub(super) fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
}

/// SigV4A signs with a key pair derived from the secret key, which is not offered.
fn refuse_other_algorithms(algorithm: &str) -> Result<(), CredentialError> {
    if algorithm.starts_with("AWS4-ECDSA") {
        return Err(malformed(
            "SigV4A is not supported, sign for one region instead",
        ));
    }
    Ok(())
}

/// The decoded value of a parameter that may be there once.
fn only(text: &str, name: &str) -> Result<Option<String>, CredentialError> {
    let mut found = query::pieces(text).filter(|(_, found)| found == name.as_bytes());
    let first = found.next().map(|(piece, _)| query::value(piece));
    if found.next().is_some() {
        return Err(malformed("a parameter of it is repeated in the query"));
    }
    let text = first.map(String::from_utf8).transpose();
    text.map_err(|_| malformed("a parameter of it is no text"))
}

pub(super) fn malformed(what: &'static str) -> CredentialError {
    CredentialError::Signature(what)
}
