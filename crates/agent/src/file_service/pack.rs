//! `GET files/archive`: a file or a tree as a tar, made as it is sent.

use super::call::{target, Parameters};
use super::coding::{Coding, Encoder};
use super::entry::Owners;
use super::pattern::Patterns;
use super::problem::{failed, not_a_file, Result};
use super::walk::{Found, Walk};
use super::work::{self, Clock, Producer, Progress, FULL};
use crate::agent::Agent;
use crate::http::reply::Reply;
use http::Request;
use hyper::body::Incoming;
use rustix::fs::{FileType, OFlags, SeekFrom, Stat};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use wardian_wire::tar::block::padding;
use wardian_wire::tar::member::{Kind, Member};
use wardian_wire::tar::sparse::{Piece, MOST_PIECES};
use wardian_wire::tar::writer;

/// How much of a file is read at once, in bytes.
const CHUNK: u64 = 256 * 1024;
/// The most files with several names whose first is remembered; others are sent twice.
const MOST_LINKED: usize = 100_000;
/// Smaller files are sent with their holes.
const SPARSE: i64 = 64 * 1024;

/// `GET files/archive`.
pub(super) async fn send(agent: &Agent, request: &Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (_, path) = target(agent, &mut parameters)?;
    let coding = parameters.text("compression")?;
    let coding = Coding::parse(coding.as_deref().unwrap_or("gzip"))?;
    let exclude = parameters.every("exclude").into_iter();
    let exclude: Vec<String> = exclude
        .map(|glob| String::from_utf8_lossy(&glob).into_owned())
        .collect();
    let exclude = Patterns::new(&exclude)?;
    let only_directory = parameters.flag("directory", false)?;
    parameters.end()?;
    let content_type = match coding {
        Coding::None => "application/x-tar",
        Coding::Gzip => "application/gzip",
        Coding::Zstd => "application/zstd",
    };
    let packing = work::once(move || {
        let error = |e: io::Error| failed("packing", &path, &e);
        let stat = rustix::fs::stat(&path).map_err(|e| error(e.into()))?;
        let mut packing = Packing {
            walk: None,
            exclude,
            owners: Owners::load(),
            linked: HashMap::new(),
            plain: Vec::new(),
            current: None,
            encoder: Encoder::new(coding),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                packing.walk = Some(Walk::begin(&path, usize::MAX, true, None).map_err(error)?);
                let member = packing.member(b"./", Kind::Directory, &stat);
                packing.plain = writer::header(&member);
            }
            _ if only_directory => {
                return Err(failed(
                    "packing",
                    &path,
                    &io::ErrorKind::NotADirectory.into(),
                ));
            }
            FileType::RegularFile => {
                let name = path.file_name().unwrap_or_default().as_bytes();
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
                let file = File::from(file.map_err(|e| error(e.into()))?);
                packing.begin_file(name, &stat, file).map_err(error)?;
            }
            _ => return Err(not_a_file(&path, false)),
        }
        Ok(packing)
    });
    Ok(work::stream(packing.await?, content_type))
}

struct Packing {
    walk: Option<Walk>,
    exclude: Patterns,
    owners: Owners,
    /// The first name of files that have several.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// What waits to be compressed.
    plain: Vec<u8>,
    current: Option<Content>,
    encoder: Encoder,
}

/// The content of a file on its way.
struct Content {
    file: File,
    pieces: VecDeque<Piece>,
    padding: u64,
}

impl Packing {
    fn member(&mut self, path: &[u8], kind: Kind, stat: &Stat) -> Member {
        Member {
            path: path.to_vec(),
            size: match kind {
                Kind::File => u64::try_from(stat.st_size).unwrap_or(0),
                _ => 0,
            },
            kind,
            mode: stat.st_mode & 0o7777,
            uid: u64::from(stat.st_uid),
            gid: u64::from(stat.st_gid),
            owner: self.owners.user(stat.st_uid),
            group: self.owners.group(stat.st_gid),
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
        }
    }

    /// Begins the next member; `false` if there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some(mut walk) = self.walk.take() else {
            return Ok(false);
        };
        let packed = match walk.step() {
            Ok(None) => return Ok(false),
            Ok(Some(found)) if self.exclude.matches(found.path) => None,
            Ok(Some(found)) => Some(self.pack(&found)),
            Err(error) => Some(Err(error.error)),
        };
        if packed.is_none() {
            walk.skip();
        }
        self.walk = Some(walk);
        match packed {
            // It went away meanwhile, or became something else.
            Some(Err(error))
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(libc::ELOOP) => {}
            Some(outcome) => outcome?,
            None => {}
        }
        Ok(true)
    }

    fn pack(&mut self, found: &Found<'_>) -> io::Result<()> {
        let stat = found.stat()?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.directory, found.name, Vec::new())?;
                Kind::Symlink {
                    target: target.into_bytes(),
                }
            }
            FileType::RegularFile => {
                if let Some(target) = self.first_name(found.path, &stat) {
                    Kind::HardLink { target }
                } else {
                    let file = File::from(found.open(OFlags::RDONLY)?);
                    let stat = rustix::fs::fstat(&file)?;
                    if !FileType::from_raw_mode(stat.st_mode).is_file() {
                        return Ok(());
                    }
                    return self.begin_file(found.path, &stat, file);
                }
            }
            FileType::Fifo => Kind::Fifo,
            // Sockets and devices mean nothing elsewhere.
            _ => return Ok(()),
        };
        let mut path = found.path.to_vec();
        if kind == Kind::Directory {
            path.push(b'/');
        }
        let member = self.member(&path, kind, &stat);
        self.plain.extend_from_slice(&writer::header(&member));
        Ok(())
    }

    /// The name under which a file was sent before.
    fn first_name(&mut self, path: &[u8], stat: &Stat) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let known = self.linked.get(&(stat.st_dev, stat.st_ino)).cloned();
        if known.is_none() && self.linked.len() < MOST_LINKED {
            self.linked
                .insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        known
    }

    fn begin_file(&mut self, path: &[u8], stat: &Stat, file: File) -> io::Result<()> {
        let member = self.member(path, Kind::File, stat);
        let (pieces, stored) = match pieces(&file, stat) {
            Some(pieces) => {
                let (header, stored) = writer::sparse_header(&member, &pieces);
                self.plain.extend_from_slice(&header);
                (pieces, stored)
            }
            None => {
                self.plain.extend_from_slice(&writer::header(&member));
                (vec![(0, member.size)], member.size)
            }
        };
        self.current = Some(Content {
            file,
            pieces: pieces.into(),
            padding: padding(stored),
        });
        Ok(())
    }
}

impl Content {
    /// Appends some of it; `false` at the end. A file that has become shorter is made up for with
    /// zeros: its size has been told.
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some((offset, left)) = self.pieces.front_mut() else {
            let padding = usize::try_from(self.padding).unwrap_or(0);
            out.resize(out.len() + padding, 0);
            return Ok(false);
        };
        let count = (*left).min(CHUNK);
        let start = out.len();
        let length = usize::try_from(count).unwrap_or(0);
        out.resize(start + length, 0);
        let mut at = 0;
        while at < length {
            let read = self
                .file
                .read_at(&mut out[start + at..], *offset + at as u64)?;
            if read == 0 {
                break;
            }
            at += read;
        }
        *offset += count;
        *left -= count;
        if *left == 0 {
            self.pieces.pop_front();
        }
        Ok(true)
    }
}

impl Producer for Packing {
    fn slice(&mut self, clock: &Clock, out: &mut Vec<u8>) -> io::Result<Progress> {
        loop {
            if let Some(content) = &mut self.current {
                if !content.read(&mut self.plain)? {
                    self.current = None;
                }
            } else if !self.next()? {
                self.plain.extend_from_slice(&writer::END);
                self.encoder.write(&self.plain, out)?;
                self.encoder.finish(out)?;
                return Ok(Progress::Done);
            }
            if self.plain.len() >= CHUNK as usize || clock.is_over() {
                self.encoder.write(&self.plain, out)?;
                self.plain.clear();
            }
            if out.len() >= FULL || clock.is_over() {
                return Ok(Progress::More);
            }
        }
    }
}

/// Where the data of a file with holes is; `None` if it has none worth telling.
fn pieces(file: &File, stat: &Stat) -> Option<Vec<Piece>> {
    if stat.st_size < SPARSE || stat.st_blocks.saturating_mul(512) >= stat.st_size {
        return None;
    }
    let size = u64::try_from(stat.st_size).ok()?;
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return None,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))
            .ok()?
            .min(size);
        if end <= start || found.len() == MOST_PIECES {
            return None;
        }
        found.push((start, end - start));
        at = end;
    }
    Some(found)
}
