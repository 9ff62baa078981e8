//! GET /files.

use super::access::Access;
use super::buffers::Buffers;
use super::{blocking, content_type, FileError};
use crate::agent::Agent;
use crate::http::body::ReplyBody;
use crate::http::reply::{self, Reply};
use bytes::Bytes;
use flate2::{write::GzEncoder, Compression};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use wardian_wire::content_coding::{self, Coding};
use wardian_wire::range::{self, Selection};
use wardian_wire::signature::Operation;

/// How much is read at once, in bytes; at most three such pieces of one download are in memory.
const CHUNK: usize = 1024 * 1024;

/// Answers a GET or HEAD.
pub(crate) async fn download(agent: &Agent, request: &Request<Incoming>) -> Reply {
    match find(agent, request).await {
        Ok(reply) => reply,
        Err(error) => error.reply(),
    }
}

async fn find(agent: &Agent, request: &Request<Incoming>) -> Result<Reply, FileError> {
    let (head, ()) = {
        let mut copy = Request::new(());
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy.into_parts()
    };
    let access = Access::check(agent, &head, Operation::Read)?;
    let path = access.resolve(access.path.as_deref().unwrap_or_default())?;
    let opened = path.clone();
    let (file, size, modified) = blocking(move || open(&opened)).await?;
    let found = Found {
        path,
        file: Arc::new(file),
        size,
        modified,
    };
    found.answer(request.method(), request.headers())
}

/// Opens without waiting, so that a FIFO in the place of a file holds nobody up.
fn open(path: &PathBuf) -> Result<(File, u64, SystemTime), FileError> {
    let error = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => FileError::new(
            StatusCode::NOT_FOUND,
            format!("path '{}' does not exist", path.display()),
        ),
        _ => FileError::io("reading", path, &e),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| error(e.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(error)?;
    if metadata.is_dir() {
        let message = format!("path '{}' is a directory", path.display());
        return Err(FileError::bad(message));
    }
    if !metadata.is_file() {
        let message = format!("path '{}' is not a regular file", path.display());
        return Err(FileError::bad(message));
    }
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((file, metadata.len(), modified))
}

/// A file about to be sent.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

impl Found {
    fn answer(self, method: &Method, headers: &HeaderMap) -> Result<Reply, FileError> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        let partial = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_MODIFIED_SINCE,
            header::IF_NONE_MATCH,
        ]
        .iter()
        .any(|name| headers.contains_key(name));
        let coding = content_coding::choose(text(header::ACCEPT_ENCODING), partial)
            .map_err(|e| FileError::new(StatusCode::NOT_ACCEPTABLE, e.to_string()))?;
        let date = text(header::IF_MODIFIED_SINCE).and_then(|d| httpdate::parse_http_date(d).ok());
        if !headers.contains_key(header::IF_NONE_MATCH)
            && date.is_some_and(|date| seconds(self.modified) <= seconds(date))
        {
            let mut reply = reply::empty(StatusCode::NOT_MODIFIED);
            self.describe(reply.headers_mut());
            return Ok(reply);
        }
        let mut range = text(header::RANGE);
        if let Some(condition) = text(header::IF_RANGE) {
            let date = httpdate::parse_http_date(condition).ok();
            // Another version, or an entity tag, which files do not have: the whole file.
            range = range.filter(|_| date.is_some_and(|d| seconds(d) == seconds(self.modified)));
        }
        let mut reply = match (coding, range::select(range, self.size)) {
            (Coding::Gzip, _) => self.compressed(method),
            (Coding::Identity, Selection::Unsatisfiable) => {
                let mut reply = FileError::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    format!("the range lies outside the file of {} bytes", self.size),
                )
                .reply();
                let range = format!("bytes */{}", self.size);
                set(reply.headers_mut(), header::CONTENT_RANGE, &range);
                return Ok(reply);
            }
            (Coding::Identity, Selection::Whole) => self.part(method, 0, self.size),
            (Coding::Identity, Selection::Part { start, end }) => {
                let mut reply = self.part(method, start, end);
                *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {start}-{}/{}", end - 1, self.size);
                set(reply.headers_mut(), header::CONTENT_RANGE, &range);
                reply
            }
        };
        self.describe(reply.headers_mut());
        Ok(reply)
    }

    /// Says what is sent.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        let modified = httpdate::fmt_http_date(self.modified);
        set(
            headers,
            header::CONTENT_TYPE,
            content_type::guess(&self.path),
        );
        set(
            headers,
            header::CONTENT_DISPOSITION,
            &disposition(&self.path),
        );
        set(headers, header::LAST_MODIFIED, &modified);
        set(headers, header::VARY, "Accept-Encoding");
        if !headers.contains_key(header::CONTENT_ENCODING) {
            set(headers, header::ACCEPT_RANGES, "bytes");
        }
    }

    /// Bytes `start` to `end`. A file that says it is empty may still have content (those of
    /// /proc do): it is read to its end.
    pub(crate) fn part(&self, method: &Method, start: u64, end: u64) -> Reply {
        let length = Some(end - start).filter(|_| self.size > 0);
        if *method == Method::HEAD {
            let mut reply = reply::empty(StatusCode::OK);
            if let Some(length) = length {
                set(
                    reply.headers_mut(),
                    header::CONTENT_LENGTH,
                    &length.to_string(),
                );
            }
            return reply;
        }
        let (pieces, received) = mpsc::channel(1);
        let file = Arc::clone(&self.file);
        let buffers = Buffers::default();
        tokio::task::spawn_local(feed(pieces, move |offset| {
            let wanted = length.map_or(CHUNK as u64, |length| length - offset);
            read(
                &file,
                &buffers,
                start + offset,
                wanted.min(CHUNK as u64),
                length.is_some(),
            )
        }));
        Response::new(ReplyBody::Pieces(received, length))
    }

    fn compressed(&self, method: &Method) -> Reply {
        let mut reply = if *method == Method::HEAD {
            reply::empty(StatusCode::OK)
        } else {
            let (pieces, received) = mpsc::channel(1);
            let file = Arc::clone(&self.file);
            let encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let encoder = Arc::new(std::sync::Mutex::new(Some(encoder)));
            tokio::task::spawn_local(feed_compressed(pieces, file, encoder));
            Response::new(ReplyBody::Pieces(received, None))
        };
        set(reply.headers_mut(), header::CONTENT_ENCODING, "gzip");
        reply
    }
}

/// Header values made here are ASCII; one that is not is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whole seconds, which is all HTTP dates have.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// `inline; filename=…`, with all that a quoted string can't hold percent-encoded (RFC 6266).
fn disposition(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    if name.iter().all(|b| plain(b) || *b == b' ') {
        return format!("inline; filename=\"{}\"", String::from_utf8_lossy(name));
    }
    let mut text = "inline; filename*=UTF-8''".to_owned();
    for byte in name {
        if plain(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Reads up to `length` bytes at `offset`. Empty at the end of the file, which is an error if
/// more was promised.
fn read(
    file: &File,
    buffers: &Buffers,
    offset: u64,
    length: u64,
    promised: bool,
) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
    let mut buffer = buffers.take(length);
    if length > 0 {
        loop {
            match rustix::io::pread(file, &mut buffer.bytes[..length], offset) {
                Ok(0) if promised => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer.filled = count;
                    break;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(Bytes::from_owner(buffer))
}

/// Sends piece after piece until an empty one. A thread is only busy while it reads, never while
/// a client is slow.
async fn feed(
    pieces: mpsc::Sender<io::Result<Bytes>>,
    read: impl Fn(u64) -> io::Result<Bytes> + Send + Sync + 'static,
) {
    let read = Arc::new(read);
    let mut offset = 0;
    loop {
        let work = Arc::clone(&read);
        let piece = tokio::task::spawn_blocking(move || work(offset)).await;
        let piece = piece.unwrap_or_else(|e| Err(io::Error::other(e)));
        let size = match &piece {
            Ok(bytes) if bytes.is_empty() => return,
            Ok(bytes) => bytes.len() as u64,
            Err(_) => 0,
        };
        if pieces.send(piece).await.is_err() || size == 0 {
            return;
        }
        offset += size;
    }
}

type Encoder = Arc<std::sync::Mutex<Option<GzEncoder<Vec<u8>>>>>;

async fn feed_compressed(
    pieces: mpsc::Sender<io::Result<Bytes>>,
    file: Arc<File>,
    encoder: Encoder,
) {
    let mut offset = 0;
    loop {
        let file = Arc::clone(&file);
        let encoder = Arc::clone(&encoder);
        let work = move || compress(&file, offset, &encoder);
        let piece = tokio::task::spawn_blocking(work).await;
        let (read, piece) = match piece.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok((read, bytes)) => (read, Ok(bytes)),
            Err(error) => (0, Err(error)),
        };
        offset += read;
        let send = !matches!(&piece, Ok(bytes) if bytes.is_empty());
        if send && pieces.send(piece).await.is_err() || read == 0 {
            return;
        }
    }
}

/// Compresses the next piece; nothing read means the end has been written.
fn compress(file: &File, offset: u64, encoder: &Encoder) -> io::Result<(u64, Bytes)> {
    let mut slot = encoder.lock().map_err(|_| io::ErrorKind::Other)?;
    let mut chunk = vec![0; CHUNK];
    let count = file.read_at(&mut chunk, offset)?;
    if count == 0 {
        let done = slot.take().map(GzEncoder::finish).transpose()?;
        return Ok((0, done.unwrap_or_default().into()));
    }
    let Some(encoder) = slot.as_mut() else {
        return Ok((0, Bytes::new()));
    };
    encoder.write_all(&chunk[..count])?;
    let compressed = std::mem::take(encoder.get_mut());
    Ok((count as u64, compressed.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_header() {
        let quoted = |name: &str| disposition(Path::new(name));
        assert_eq!(quoted("/a/b c.txt"), "inline; filename=\"b c.txt\"");
        assert_eq!(
            quoted("/a/x\"\r\ny"),
            "inline; filename*=UTF-8''x%22%0D%0Ay"
        );
    }
}
