//! `GET files/hash`: the digest of a file's content.

use super::call::{target, Parameters};
use super::content::open;
use super::problem::{failed, invalid, Result};
use super::work::{self, Clock, Task};
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest, Sha256, Sha512};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

const CHUNK: usize = 256 * 1024;

/// Answers a question for a digest.
pub(super) async fn hash(agent: &Agent, request: &Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (_, path) = target(agent, &mut parameters)?;
    let algorithm = parameters.text("algorithm")?;
    let algorithm = algorithm.as_deref().unwrap_or("sha256");
    parameters.end()?;
    let digest = match algorithm {
        "sha256" => Algorithm::Sha256(Sha256::new()),
        "sha512" => Algorithm::Sha512(Sha512::new()),
        other => {
            return Err(invalid(format!(
                "algorithm is sha256 or sha512, not '{other}'"
            )))
        }
    };
    let opened = path.clone();
    let file = work::once(move || Ok(open(&opened)?.file)).await?;
    let hashing = Hashing {
        path,
        file,
        digest,
        size: 0,
    };
    let (digest, size) = work::finish(hashing).await?;
    let body = serde_json::json!({ "algorithm": algorithm, "digest": digest, "size": size });
    Ok(reply::json(StatusCode::OK, &body))
}

enum Algorithm {
    Sha256(Sha256),
    Sha512(Sha512),
}

struct Hashing {
    path: PathBuf,
    file: File,
    digest: Algorithm,
    size: u64,
}

impl Task for Hashing {
    type Outcome = (String, u64);

    fn slice(&mut self, clock: &Clock) -> Result<Option<(String, u64)>> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = self.file.read(&mut buffer);
            let count = count.map_err(|e| failed("reading", &self.path, &e))?;
            if count == 0 {
                let digest = match &mut self.digest {
                    Algorithm::Sha256(digest) => hex(&digest.finalize_reset()),
                    Algorithm::Sha512(digest) => hex(&digest.finalize_reset()),
                };
                return Ok(Some((digest, self.size)));
            }
            match &mut self.digest {
                Algorithm::Sha256(digest) => digest.update(&buffer[..count]),
                Algorithm::Sha512(digest) => digest.update(&buffer[..count]),
            }
            self.size += count as u64;
            if clock.is_over() {
                return Ok(None);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
