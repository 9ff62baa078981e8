//! `PUT files/archive`: a tar, unpacked as it comes.

use super::call::{target, Parameters};
use super::coding::{Coding, Decoder};
use super::content::next;
use super::problem::{failed, invalid, Result};
use super::target::{times, Target};
use super::work::{self, Unreadables};
use crate::agent::Agent;
use crate::files::part::{Destination, Receiving};
use crate::filesystem::owned;
use crate::http::native::Problem;
use crate::http::reply::{self, Reply};
use crate::users::User;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use rustix::fs::Mode;
use serde::Serialize;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use wardian_wire::tar::member::{parts, stays_inside, Kind, Member};
use wardian_wire::tar::reader::{Event, Reader};
use wardian_wire::tar::TarError;

/// Directories whose times are set at the end; those of further ones are when they were unpacked.
const MOST_DATED: usize = 20_000;

/// `PUT files/archive`.
pub(super) async fn receive(agent: &Agent, request: &mut Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (actor, path) = target(agent, &mut parameters)?;
    let coding = parameters.text("compression")?;
    let coding = coding.as_deref().map(Coding::parse).transpose()?;
    let any_link = match parameters.text("links")?.as_deref() {
        None | Some("inside") => false,
        Some("any") => true,
        Some(other) => return Err(invalid(format!("links is inside or any, not '{other}'"))),
    };
    parameters.end()?;
    let begun = work::once(move || Unpacking::begin(path, actor.user, any_link)).await?;
    let mut receiving = Receiving::new(Archive(Decoder::new(coding, begun)));
    while let Some(bytes) = next(request.body_mut()).await? {
        receiving.add(bytes).await?;
    }
    let report = receiving.finish(Archive::end).await?;
    Ok(reply::json(StatusCode::OK, &report))
}

/// An archive on its way through its decoder.
struct Archive(Decoder<Unpacking>);

impl Archive {
    fn problem(&mut self, error: &io::Error) -> Problem {
        let stored = self.0.sink().and_then(|sink| sink.problem.take());
        stored.unwrap_or_else(|| malformed(error))
    }

    fn end(mut self) -> Result<Report> {
        let decoder = std::mem::replace(&mut self.0, Decoder::Broken);
        decoder.finish().map_err(|e| malformed(&e))?.end()
    }
}

impl Drop for Archive {
    /// A client that leaves in the middle leaves a file to remove, and this may be no place to wait
    /// for a disk.
    fn drop(&mut self) {
        let decoder = std::mem::replace(&mut self.0, Decoder::Broken);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !matches!(decoder, Decoder::Broken) => {
                drop(runtime.spawn_blocking(move || drop(decoder)));
            }
            _ => drop(decoder),
        }
    }
}

fn malformed(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid_archive",
        format!("the archive: {error}"),
    )
}

impl Destination for Archive {
    type Error = Problem;

    fn write(&mut self, batch: &[u8]) -> Result<()> {
        self.0.feed(batch).map_err(|error| self.problem(&error))
    }

    fn died(message: &str) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

/// What was unpacked.
#[derive(Debug, Default, Serialize)]
struct Report {
    files: u64,
    directories: u64,
    links: u64,
    bytes: u64,
    /// What was left out, and why.
    skipped: Unreadables,
    skipped_count: u64,
}

struct Unpacking {
    reader: Reader,
    members: Members,
    /// Why it ended: decoders pass on only their own kind of error.
    problem: Option<Problem>,
}

/// Makes the members.
struct Members {
    path: PathBuf,
    target: Target,
    any_link: bool,
    report: Report,
    open: Option<(Member, File)>,
    dates: Vec<(Vec<u8>, (i64, u32))>,
}

/// Why a member is not made.
enum Refusal {
    Skip(String),
    Stop(Problem),
}

impl From<TarError> for Refusal {
    fn from(error: TarError) -> Self {
        Self::Stop(malformed(&error))
    }
}

impl Unpacking {
    fn begin(path: PathBuf, user: User, any_link: bool) -> Result<Self> {
        let made = owned::make_directories(&path, &user);
        made.map_err(|e| failed("making", &path, &e))?;
        let target = Target::open(&path, user).map_err(|e| failed("opening", &path, &e))?;
        Ok(Self {
            reader: Reader::default(),
            members: Members {
                path,
                target,
                any_link,
                report: Report::default(),
                open: None,
                dates: Vec::new(),
            },
            problem: None,
        })
    }

    fn end(self) -> Result<Report> {
        self.reader.finish().map_err(|e| malformed(&e))?;
        let mut members = self.members;
        members.date()?;
        Ok(std::mem::take(&mut members.report))
    }
}

impl Write for Unpacking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let members = &mut self.members;
        let fed = self.reader.feed(bytes, |event| members.take(event));
        match fed {
            Ok(()) => Ok(bytes.len()),
            Err(Refusal::Stop(problem)) => {
                self.members.give_up();
                self.problem = Some(problem);
                Err(io::ErrorKind::Other.into())
            }
            // Never left to this place.
            Err(Refusal::Skip(reason)) => Err(io::Error::other(reason)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Members {
    fn take(&mut self, event: Event<'_>) -> std::result::Result<(), Refusal> {
        match event {
            Event::Member(member) => match self.begin(&member) {
                Err(Refusal::Skip(reason)) => {
                    self.report.skipped.add(&member.path, reason);
                    self.report.skipped_count += 1;
                    Ok(())
                }
                outcome => outcome,
            },
            Event::Data { offset, bytes } => match &self.open {
                Some((member, file)) => {
                    let written = file.write_all_at(bytes, offset);
                    self.report.bytes += bytes.len() as u64;
                    written.map_err(|e| self.stop(&member.path, &e))
                }
                None => Ok(()),
            },
            Event::MemberEnd => match self.open.take() {
                Some((member, file)) => {
                    let done = finish(&member, &file);
                    self.report.files += 1;
                    done.map_err(|e| self.stop(&member.path, &e))
                }
                None => Ok(()),
            },
        }
    }

    fn stop(&self, path: &[u8], error: &io::Error) -> Refusal {
        let path = self.path.join(OsStr::from_bytes(path));
        Refusal::Stop(failed("unpacking", &path, error))
    }

    fn begin(&mut self, member: &Member) -> std::result::Result<(), Refusal> {
        let unusable = |reason| {
            let path = String::from_utf8_lossy(&member.path).into_owned();
            Refusal::from(TarError::Name(path, reason))
        };
        let place = parts(&member.path).map_err(unusable)?;
        let made = match &member.kind {
            Kind::Directory => self.target.make_directory(&place, member.mode).map(|()| {
                self.report.directories += 1;
                if !place.is_empty() && self.dates.len() < MOST_DATED {
                    self.dates.push((place.join(&b'/'), member.modified));
                }
            }),
            Kind::File => self.target.create(&place).map(|file| {
                self.open = Some((member.clone(), file));
            }),
            Kind::Symlink { target } => {
                if target.is_empty() || target.contains(&0) {
                    return Err(unusable("it is a link to nothing"));
                }
                if !self.any_link && !stays_inside(&place, target) {
                    return Err(Refusal::Skip("a link that leads out".to_owned()));
                }
                let made = self.target.link(&place, target, member.modified);
                self.report.links += u64::from(made.is_ok());
                made
            }
            Kind::HardLink { target } => {
                let source = parts(target).map_err(unusable)?;
                let made = self.target.hard_link(&place, &source);
                self.report.links += u64::from(made.is_ok());
                made
            }
            Kind::Fifo | Kind::Other => {
                let reason = "neither file, directory nor link".to_owned();
                return Err(Refusal::Skip(reason));
            }
        };
        made.map_err(|error| match error.raw_os_error() {
            _ if is_in_the_way(&error) => {
                Refusal::Skip(format!("something else is in its place: {error}"))
            }
            Some(libc::ENOENT) if matches!(member.kind, Kind::HardLink { .. }) => {
                Refusal::Skip("a link to what is not there".to_owned())
            }
            Some(libc::ENAMETOOLONG) => Refusal::Skip("its path is too long".to_owned()),
            _ => self.stop(&member.path, &error),
        })
    }

    /// Removes a file that did not come whole.
    fn give_up(&mut self) {
        if let Some((member, _)) = self.open.take() {
            if let Ok(place) = parts(&member.path) {
                self.target.discard(&place);
            }
        }
    }

    /// Sets the times of directories, which unpacking into them has changed.
    fn date(&mut self) -> Result<()> {
        for (path, modified) in std::mem::take(&mut self.dates).into_iter().rev() {
            match self.target.date_directory(&path, modified) {
                // It became something else meanwhile: then it is not ours to date.
                Err(error) if !is_in_the_way(&error) && error.kind() != io::ErrorKind::NotFound => {
                    let path = Path::new(OsStr::from_bytes(&path));
                    return Err(failed("dating", &self.path.join(path), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether something is there that an archive does not replace: a link where a directory should be,
/// a directory where a file should be, a file in the middle of a path.
fn is_in_the_way(error: &io::Error) -> bool {
    let raw = matches!(
        error.raw_os_error(),
        Some(libc::ELOOP | libc::ENOTDIR | libc::EISDIR | libc::EXDEV | libc::ENOTEMPTY)
    );
    raw || error.kind() == io::ErrorKind::IsADirectory
}

/// Gives a file its length, mode and time. Set-id bits are for nobody who only sends an archive.
fn finish(member: &Member, file: &File) -> io::Result<()> {
    // It ends in a hole.
    if file.metadata()?.len() < member.size {
        file.set_len(member.size)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(member.mode & 0o777))?;
    Ok(rustix::fs::futimens(file, &times(member.modified))?)
}
