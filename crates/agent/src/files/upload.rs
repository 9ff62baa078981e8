//! POST /files: one file as it is, or several as multipart/form-data.

use super::access::Access;
use super::part::Receiving;
use super::sink::Sink;
use super::{blocking, FileError, Written};
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use crate::http::request;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{HeaderMap, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use wardian_wire::metadata;
use wardian_wire::multipart::{self, Event, Parser, Part};
use wardian_wire::signature::Operation;

/// How much of a compressed multipart body is expanded at once, in bytes: gzip grows at most
/// about a thousandfold.
const EXPAND: usize = 4096;

/// Answers a POST.
pub(crate) async fn upload(agent: &Agent, request: Request<Incoming>) -> Reply {
    let (head, mut body) = request.into_parts();
    match receive(agent, &head, &mut body).await {
        Ok(written) => reply::json(StatusCode::OK, &written),
        Err(error) => {
            request::drain_behind(body);
            error.reply()
        }
    }
}

async fn receive(
    agent: &Agent,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Vec<Written>, FileError> {
    let access = Access::check(agent, head, Operation::Write)?;
    let headers = head.headers.iter();
    let metadata = metadata::collect(headers.map(|(n, v)| (n.as_str(), v.as_bytes())))
        .map_err(|e| FileError::bad(e.to_string()))?;
    let gzip = is_gzip(&head.headers)?;
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        let boundary =
            multipart::boundary(content_type).map_err(|e| FileError::bad(e.to_string()))?;
        let form = Form {
            access,
            metadata,
            parser: Parser::new(boundary),
            current: None,
            seen: HashSet::new(),
            written: Vec::new(),
        };
        form.receive(body, gzip).await
    } else if essence.eq_ignore_ascii_case("application/octet-stream") {
        raw(&access, metadata, body, gzip).await
    } else {
        Err(FileError::bad(format!(
            "Content-Type '{essence}' is neither application/octet-stream nor multipart/form-data"
        )))
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, FileError> {
    let coding = headers.get(CONTENT_ENCODING).map(|v| v.as_bytes());
    match coding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(other) => Err(FileError::bad(format!(
            "Content-Encoding '{}' is not supported; send gzip or none",
            String::from_utf8_lossy(other)
        ))),
    }
}

async fn raw(
    access: &Access,
    metadata: BTreeMap<String, String>,
    body: &mut Incoming,
    gzip: bool,
) -> Result<Vec<Written>, FileError> {
    let Some(path) = access.path.as_deref() else {
        return Err(FileError::bad(
            "an octet-stream upload needs the query parameter path",
        ));
    };
    let path = access.resolve(path)?;
    let mut file = open(access, path.clone(), gzip).await?;
    while let Some(bytes) = next(body).await? {
        file.add(bytes).await?;
    }
    let kept = metadata.clone();
    file.finish(move |sink| sink.finish(&kept)).await?;
    Ok(vec![Written::new(&path, metadata)])
}

async fn open(access: &Access, path: PathBuf, gzip: bool) -> Result<Receiving<Sink>, FileError> {
    let user = access.user.clone();
    let sink = blocking(move || Sink::open(path, &user, gzip)).await?;
    Ok(Receiving::new(sink))
}

/// The next bytes of a body, `None` at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, FileError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(FileError::bad(format!("the body ended early: {error}")));
            }
        }
    }
}

/// A form being received.
struct Form {
    access: Access,
    metadata: BTreeMap<String, String>,
    parser: Parser,
    /// The file of the part at hand; a part that is no file is skipped.
    current: Option<(PathBuf, Receiving<Sink>)>,
    seen: HashSet<PathBuf>,
    written: Vec<Written>,
}

impl Form {
    async fn receive(mut self, body: &mut Incoming, gzip: bool) -> Result<Vec<Written>, FileError> {
        let mut expander = gzip.then(|| MultiGzDecoder::new(Vec::new()));
        let malformed = |e: std::io::Error| FileError::bad(format!("the body is not gzip: {e}"));
        while let Some(bytes) = next(body).await? {
            let Some(expander) = &mut expander else {
                self.take(&bytes).await?;
                continue;
            };
            for piece in bytes.chunks(EXPAND) {
                expander.write_all(piece).map_err(malformed)?;
                let expanded = std::mem::take(expander.get_mut());
                self.take(&expanded).await?;
            }
        }
        if let Some(mut expander) = expander {
            expander.try_finish().map_err(malformed)?;
            let expanded = std::mem::take(expander.get_mut());
            self.take(&expanded).await?;
        }
        if self.parser.is_done() {
            Ok(self.written)
        } else {
            Err(FileError::bad("the form ended before its last boundary"))
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.parser.feed(bytes);
        let bad = |e: multipart::MultipartError| FileError::bad(e.to_string());
        while let Some(event) = self.parser.next_event().map_err(bad)? {
            match event {
                Event::Part(part) => self.begin(&part).await?,
                Event::Data(data) => {
                    if let Some((_, file)) = &mut self.current {
                        file.add(data.into()).await?;
                    }
                }
                Event::PartEnd => {
                    if let Some((path, file)) = self.current.take() {
                        let kept = self.metadata.clone();
                        file.finish(move |sink| sink.finish(&kept)).await?;
                        let written = Written::new(&path, self.metadata.clone());
                        self.written.push(written);
                    }
                }
                Event::End => {}
            }
        }
        Ok(())
    }

    async fn begin(&mut self, part: &Part) -> Result<(), FileError> {
        if part.name.as_deref() != Some(b"file") {
            return Ok(());
        }
        let path = match (&self.access.path, &part.filename) {
            (Some(_), _) if !self.seen.is_empty() => {
                return Err(FileError::bad(
                    "the query parameter path names one file, but the form holds several",
                ));
            }
            (Some(path), _) | (None, Some(path)) if !path.is_empty() => path,
            _ => return Err(FileError::bad("a part named file has no filename")),
        };
        let path = self.access.resolve(path)?;
        if !self.seen.insert(path.clone()) {
            let message = format!("the form holds two files for {}", path.display());
            return Err(FileError::bad(message));
        }
        let file = open(&self.access, path.clone(), false).await?;
        self.current = Some((path, file));
        Ok(())
    }
}
