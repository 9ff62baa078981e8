//! Keys and signatures of AWS Signature Version 4.

use super::given::ALGORITHM;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// SHA-256 of nothing.
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What signs the requests, or the chunks of one, of one day, region and service.
#[derive(Clone)]
pub(super) struct SigningKey {
    key: Zeroizing<[u8; 32]>,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: String,
    /// `YYYYMMDD/region/service/aws4_request`.
    pub(super) scope: String,
}

impl SigningKey {
    pub(super) fn new(secret: &str, time: &str, region: &str, service: &str) -> Self {
        let date = time.get(..8).unwrap_or(time);
        let start = Zeroizing::new(format!("AWS4{secret}"));
        let mut key = hmac(start.as_bytes(), date.as_bytes());
        for part in [region, service, "aws4_request"] {
            key = hmac(&*key, part.as_bytes());
        }
        Self {
            key,
            time: time.to_owned(),
            scope: format!("{date}/{region}/{service}/aws4_request"),
        }
    }

    /// Signs a canonical request.
    pub(super) fn request(&self, canonical: &[u8]) -> String {
        self.sign(ALGORITHM, &[&hash(canonical)])
    }

    /// Signs a chunk after the one with the signature `previous`.
    pub(super) fn chunk(&self, previous: &str, data: &[u8]) -> String {
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &[previous, EMPTY, &hash(data)])
    }

    /// Signs the trailer (`name:value` lines, each with its line feed) after the last chunk.
    pub(super) fn trailer(&self, previous: &str, lines: &[u8]) -> String {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &[previous, &hash(lines)])
    }

    fn sign(&self, kind: &str, rest: &[&str]) -> String {
        let text = format!("{kind}\n{}\n{}\n{}", self.time, self.scope, rest.join("\n"));
        hex(&*hmac(&*self.key, text.as_bytes()))
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Zeroizing::default();
    };
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
