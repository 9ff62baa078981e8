//! AWS Signature Version 4: requests that a sandbox signed with keys of no worth are signed anew.
//!
//! Source: "Create a signed AWS API request" in the IAM user guide, and "Authenticating Requests
//! (AWS Signature Version 4)" in the S3 API reference.

mod canonical;
pub(super) mod chunks;
mod given;
mod key;
#[cfg(test)]
mod tests;

use super::inject::{frames, sensitive};
use super::{query, CredentialError};
use chunks::Resigner;
pub(super) use given::Given;
use given::{is_label, malformed, Place, ALGORITHM};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use key::SigningKey;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};
use wardian_wire::egress::policy::Injection;
use wardian_wire::{percent, timestamp};
use zeroize::Zeroizing;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The real keys of one rule.
pub(super) struct Signer {
    access_key: String,
    secret_key: Zeroizing<String>,
    session_token: Option<HeaderValue>,
    region: Option<String>,
    service: Option<String>,
}

/// What the signature says of the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// A hash, or a word that none is signed.
    Said(String),
    /// Each chunk has a signature of its own, and the trailer another if there is one.
    Chunks { trailer: bool },
    /// Its hash, which nothing but the body tells.
    Body,
}

/// A request ready to be signed, but for the body.
pub(super) struct Draft {
    key: SigningKey,
    credential: String,
    token: Option<HeaderValue>,
    signed_headers: Vec<String>,
    presigned: bool,
    s3: bool,
    pub(super) payload: Payload,
}

impl Signer {
    /// `None` if a key, the region or the service is of a form that none has.
    pub(super) fn new(injection: &Injection) -> Option<Self> {
        let Injection::Sigv4 {
            access_key,
            secret_key,
            session_token,
            region,
            service,
            ..
        } = injection
        else {
            return None;
        };
        let key = |byte: u8| byte.is_ascii_graphic() && !b"/,;=\"&".contains(&byte);
        let labels = [region, service].into_iter().flatten();
        let fits = access_key.bytes().all(key)
            && !access_key.is_empty()
            && !secret_key.is_empty()
            && labels.into_iter().all(|label| is_label(label));
        let token = session_token
            .as_ref()
            .map(|token| sensitive(token.as_bytes()));
        let signer = |session_token| Self {
            access_key: access_key.clone(),
            secret_key: Zeroizing::new(secret_key.clone()),
            session_token,
            region: region.clone(),
            service: service.clone(),
        };
        match token {
            _ if !fits => None,
            Some(None) => None,
            Some(Some(token)) => Some(signer(Some(token))),
            None => Some(signer(None)),
        }
    }

    /// Says when, with which key and over which headers the request is signed, and puts what of
    /// that stands in headers there. `given` is what [`Given::take`] took out of it.
    ///
    /// # Errors
    /// What has to be known to sign is neither in the rule nor in the sandbox's signature, or is
    /// malformed.
    pub(super) fn draft(
        &self,
        given: Option<&Given>,
        head: &mut Parts,
        empty_body: bool,
        now: SystemTime,
    ) -> Result<Draft, CredentialError> {
        let region = self.region.as_ref().or(given.map(|given| &given.region));
        let service = self.service.as_ref().or(given.map(|given| &given.service));
        let (Some(region), Some(service)) = (region, service) else {
            return Err(malformed(
                "it carries no AWS signature; let the client sign with any keys, or give the rule \
                 region and service",
            ));
        };
        let time = match given.map(|given| &given.place) {
            Some(Place::Query { time }) => checked(time.clone())?,
            Some(Place::Header) => time_in_headers(&head.headers)?,
            None => basic(now),
        };
        if given.is_some_and(|given| !time.starts_with(&given.date)) {
            return Err(malformed(
                "its credential is of another day than the request",
            ));
        }
        let presigned = given.is_some_and(|given| given.place != Place::Header);
        let s3 = canonical::is_s3(service);
        let payload = payload(head, s3, presigned, empty_body)?;
        self.set_headers(&mut head.headers, &time, presigned);
        let key = SigningKey::new(&self.secret_key, &time, region, service);
        let listed = given.map(|given| given.signed_headers.as_slice());
        Ok(Draft {
            credential: format!("{}/{}", self.access_key, key.scope),
            key,
            token: self.session_token.clone(),
            signed_headers: signed_headers(&head.headers, listed.unwrap_or_default()),
            presigned,
            s3,
            payload,
        })
    }

    fn set_headers(&self, headers: &mut HeaderMap, time: &str, presigned: bool) {
        headers.remove(TOKEN);
        if presigned {
            return;
        }
        if let Some(token) = &self.session_token {
            headers.insert(TOKEN, token.clone());
        }
        if let Ok(time) = HeaderValue::from_str(time) {
            headers.insert(DATE, time);
        }
    }
}

impl Draft {
    /// Signs the request, and gives back what signs its chunks if it has any; `body` is the hash
    /// of the body where only that tells it.
    ///
    /// # Errors
    /// The address would be too long.
    pub(super) fn sign(
        self,
        head: &mut Parts,
        body: Option<Sha256>,
    ) -> Result<Option<Resigner>, CredentialError> {
        let payload = match (&self.payload, body) {
            (Payload::Said(said), _) => said.clone(),
            (Payload::Chunks { trailer: false }, _) => chunks::PAYLOAD.to_owned(),
            (Payload::Chunks { trailer: true }, _) => chunks::PAYLOAD_AND_TRAILER.to_owned(),
            (Payload::Body, hash) => key::hex(&hash.unwrap_or_default().finalize()),
        };
        if self.presigned {
            self.add_parameters(head)?;
        }
        let canonical = canonical::request(head, self.s3, &self.signed_headers, &payload);
        let signature = self.key.request(&canonical);
        if self.presigned {
            append(head, &[("X-Amz-Signature", signature.as_bytes())])?;
        } else {
            let value = format!(
                "{ALGORITHM} Credential={}, SignedHeaders={}, Signature={signature}",
                self.credential,
                self.signed_headers.join(";"),
            );
            let value = sensitive(value.as_bytes()).ok_or(CredentialError::TooLarge)?;
            head.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(match self.payload {
            Payload::Chunks { trailer } => Some(Resigner::new(self.key, signature, trailer)),
            _ => None,
        })
    }

    fn add_parameters(&self, head: &mut Parts) -> Result<(), CredentialError> {
        let headers = self.signed_headers.join(";");
        let mut parameters = vec![
            ("X-Amz-Algorithm", ALGORITHM.as_bytes()),
            ("X-Amz-Credential", self.credential.as_bytes()),
            ("X-Amz-SignedHeaders", headers.as_bytes()),
        ];
        if let Some(token) = &self.token {
            parameters.push(("X-Amz-Security-Token", token.as_bytes()));
        }
        append(head, &parameters)
    }
}

fn append(head: &mut Parts, parameters: &[(&str, &[u8])]) -> Result<(), CredentialError> {
    let mut pieces: Vec<String> = head.uri.query().map(str::to_owned).into_iter().collect();
    let written = |(name, value): &(&str, &[u8])| format!("{name}={}", percent::encoded(value));
    pieces.extend(parameters.iter().map(written));
    query::set(&mut head.uri, Some(pieces.join("&").as_bytes()))
}

/// The names to sign, sorted: what the sandbox signed, if it is still there, the host, and all
/// that AWS wants signed.
fn signed_headers(headers: &HeaderMap, listed: &[String]) -> Vec<String> {
    let stays = |name: &&String| {
        let parsed = HeaderName::try_from(name.as_str());
        parsed.is_ok_and(|name| {
            let framed = frames(&name) && name != header::CONTENT_LENGTH;
            headers.contains_key(&name) && !framed && name != header::AUTHORIZATION
        })
    };
    let wanted = headers.keys().map(HeaderName::as_str);
    let mut names: Vec<String> = wanted
        .filter(|name| name.starts_with("x-amz-"))
        .map(str::to_owned)
        .chain(listed.iter().filter(stays).cloned())
        .chain(["host".to_owned()])
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn payload(
    head: &mut Parts,
    s3: bool,
    presigned: bool,
    empty_body: bool,
) -> Result<Payload, CredentialError> {
    let mut lines = head.headers.get_all(PAYLOAD).iter();
    let line = lines.next().map(HeaderValue::to_str);
    if lines.next().is_some() {
        return Err(malformed("there are several x-amz-content-sha256 headers"));
    }
    let digits = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match line {
        Some(Ok(said)) => match said.trim() {
            chunks::PAYLOAD if !presigned => Ok(Payload::Chunks { trailer: false }),
            chunks::PAYLOAD_AND_TRAILER if !presigned => Ok(Payload::Chunks { trailer: true }),
            said @ (UNSIGNED | "STREAMING-UNSIGNED-PAYLOAD-TRAILER") => {
                Ok(Payload::Said(said.to_owned()))
            }
            said if digits(said) => Ok(Payload::Said(said.to_owned())),
            _ => Err(malformed("its x-amz-content-sha256 is of an unknown kind")),
        },
        Some(Err(_)) => Err(malformed("its x-amz-content-sha256 is of an unknown kind")),
        None if s3 => {
            if !presigned {
                head.headers
                    .insert(PAYLOAD, HeaderValue::from_static(UNSIGNED));
            }
            Ok(Payload::Said(UNSIGNED.to_owned()))
        }
        None if empty_body => Ok(Payload::Said(key::EMPTY.to_owned())),
        None => Ok(Payload::Body),
    }
}

fn time_in_headers(headers: &HeaderMap) -> Result<String, CredentialError> {
    let mut lines = headers.get_all(DATE).iter();
    let own = lines.next();
    if lines.next().is_some() {
        return Err(malformed("there are several x-amz-date headers"));
    }
    let line = own.or_else(|| headers.get(header::DATE));
    let text = line.and_then(|line| line.to_str().ok()).map(str::trim);
    let text = text.ok_or_else(|| malformed("it has no x-amz-date"))?;
    match httpdate::parse_http_date(text) {
        Ok(time) if own.is_none() => Ok(basic(time)),
        _ => checked(text.to_owned()),
    }
}

/// A time of the form that signatures have, `YYYYMMDDTHHMMSSZ`.
fn checked(time: String) -> Result<String, CredentialError> {
    let fits = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if time.len() != 16 || !time.bytes().enumerate().all(fits) {
        return Err(malformed("its time is not of the form 20130524T000000Z"));
    }
    Ok(time)
}

fn basic(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    timestamp::basic(i64::try_from(seconds).unwrap_or(i64::MAX))
}
