//! What needs no other side: status, diff, commit, checkout, branches, log.

use super::command::{Git, Said};
use super::request::{invalid, request, revision};
use super::Result;
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use base64::{engine::general_purpose::STANDARD, Engine};
use http::StatusCode;
use serde::Serialize;
use wardian_wire::git::log::{branches as read_branches, commits, LOG_FORMAT, REF_FORMAT};
use wardian_wire::git::status::{self, File};
use wardian_wire::path_text::PathText;

/// How many commits a log tells unless asked for more, and at most.
const LOG: u32 = 50;
const MAX_LOG: u32 = 10_000;

request!(StatusRequest {});
request!(DiffRequest {
    staged: bool,
    r#ref: Option<String>,
    paths: Vec<String>,
});
request!(CommitRequest {
    message: String,
    author: Option<String>,
    all: bool,
    paths: Vec<String>,
    allow_empty: bool,
});
request!(CheckoutRequest {
    r#ref: String,
    create: bool,
});
request!(BranchesRequest {});
request!(LogRequest {
    r#ref: Option<String>,
    limit: Option<u32>,
});

#[derive(Serialize)]
struct FileText {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
    index: char,
    worktree: char,
    conflict: bool,
}

impl FileText {
    fn new(file: &File) -> Self {
        let path = PathText::new(&file.path);
        let from = file.from.as_deref().map(PathText::new);
        let (from, from_b64) = from.map_or((None, None), |f| (Some(f.text), f.base64));
        Self {
            path: path.text,
            path_b64: path.base64,
            from,
            from_b64,
            index: file.index,
            worktree: file.worktree,
            conflict: file.conflict,
        }
    }
}

pub(super) async fn status(agent: &Agent, mut request: StatusRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer {
        branch: Option<String>,
        commit: Option<String>,
        upstream: Option<String>,
        ahead: u64,
        behind: u64,
        clean: bool,
        files: Vec<FileText>,
        truncated: bool,
    }
    let place = request.place(agent)?;
    let git = Git::new(agent, &place, place.repository()?);
    let arguments: [&[u8]; 5] = [
        b"status",
        b"--porcelain=v2",
        b"--branch",
        b"--untracked-files=all",
        b"-z",
    ];
    let said = git.must(&arguments, None).await?;
    let read = status::parse(&said.output);
    let answer = Answer {
        branch: read.branch,
        commit: read.commit,
        upstream: read.upstream,
        ahead: read.ahead,
        behind: read.behind,
        clean: read.files.is_empty(),
        files: read.files.iter().map(FileText::new).collect(),
        truncated: said.truncated,
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

pub(super) async fn diff(agent: &Agent, mut request: DiffRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer {
        diff: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        diff_b64: Option<String>,
        truncated: bool,
    }
    let place = request.place(agent)?;
    let git = Git::new(agent, &place, place.repository()?);
    let mut arguments: Vec<&[u8]> = vec![b"diff", b"--no-color", b"--no-ext-diff"];
    if request.staged {
        arguments.push(b"--cached");
    }
    if let Some(name) = &request.r#ref {
        arguments.push(revision("ref", name)?.as_bytes());
    }
    arguments.push(b"--");
    arguments.extend(request.paths.iter().map(String::as_bytes));
    let said = git.must(&arguments, None).await?;
    let (diff, diff_b64) = match String::from_utf8(said.output) {
        Ok(diff) => (diff, None),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (text, Some(STANDARD.encode(error.as_bytes())))
        }
    };
    let truncated = said.truncated;
    let answer = Answer {
        diff,
        diff_b64,
        truncated,
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

/// Where a working tree stands.
#[derive(Serialize)]
pub(super) struct Head {
    pub(super) branch: Option<String>,
    pub(super) commit: Option<String>,
}

/// The branch and commit that are checked out.
///
/// # Errors
/// Git could not be started.
pub(super) async fn head(git: &Git<'_>) -> Result<Head> {
    let branch: [&[u8]; 4] = [b"symbolic-ref", b"--quiet", b"--short", b"HEAD"];
    let branch = git.run(&branch, None, |_| ()).await?;
    let commit: [&[u8]; 4] = [b"rev-parse", b"--quiet", b"--verify", b"HEAD"];
    let commit = git.run(&commit, None, |_| ()).await?;
    Ok(Head {
        branch: branch.line(),
        commit: commit.line(),
    })
}

pub(super) async fn commit(agent: &Agent, mut request: CommitRequest) -> Result<Reply> {
    let place = request.place(agent)?;
    let mut git = Git::new(agent, &place, place.repository()?);
    if request.message.trim().is_empty() {
        return Err(invalid("message is empty"));
    }
    if request.all && !request.paths.is_empty() {
        return Err(invalid("all and paths exclude each other"));
    }
    let mut author = None;
    if let Some(text) = &request.author {
        let (name, email) = identity(text)?;
        author = Some(format!("--author={text}"));
        let known: [&[u8]; 2] = [b"var", b"GIT_COMMITTER_IDENT"];
        // Who has no identity of its own commits as the author; git refuses a made-up one.
        if !git.run(&known, None, |_| ()).await?.ok() || !configured(&git).await? {
            git.variables.push(("GIT_COMMITTER_NAME", name));
            git.variables.push(("GIT_COMMITTER_EMAIL", email));
        }
    }
    let mut add: Vec<&[u8]> = vec![b"add", b"--all", b"--"];
    add.extend(request.paths.iter().map(String::as_bytes));
    if request.all {
        git.must(&[b"add", b"--all"], None).await?;
    } else if !request.paths.is_empty() {
        git.must(&add, None).await?;
    }
    let mut arguments: Vec<&[u8]> = vec![b"commit", b"--quiet", b"--file=-"];
    arguments.extend(author.as_deref().map(str::as_bytes));
    if request.allow_empty {
        arguments.push(b"--allow-empty");
    }
    if !request.paths.is_empty() {
        arguments.extend([b"--only".as_slice(), b"--"]);
        arguments.extend(request.paths.iter().map(String::as_bytes));
    }
    git.must(&arguments, Some(request.message.as_bytes()))
        .await?;
    Ok(reply::json(StatusCode::OK, &head(&git).await?))
}

async fn configured(git: &Git<'_>) -> Result<bool> {
    let email: [&[u8]; 3] = [b"config", b"--get", b"user.email"];
    Ok(git.run(&email, None, |_| ()).await?.ok())
}

/// `Name <address>`.
fn identity(author: &str) -> Result<(String, String)> {
    let form = || invalid("author has the form 'Name <address>'");
    let (name, rest) = author.split_once('<').ok_or_else(form)?;
    let email = rest.trim_end().strip_suffix('>').ok_or_else(form)?;
    let name = name.trim();
    let odd = |text: &str| text.contains(['<', '>']) || text.chars().any(char::is_control);
    if name.is_empty() || odd(name) || odd(email) {
        return Err(form());
    }
    Ok((name.to_owned(), email.to_owned()))
}

pub(super) async fn checkout(agent: &Agent, mut request: CheckoutRequest) -> Result<Reply> {
    let place = request.place(agent)?;
    let git = Git::new(agent, &place, place.repository()?);
    let name = revision("ref", &request.r#ref)?.as_bytes();
    let mut arguments: Vec<&[u8]> = vec![b"checkout", b"--quiet"];
    if request.create {
        arguments.push(b"-b");
    }
    // Behind a `--` git takes nothing for a path.
    arguments.extend([name, b"--"]);
    git.must(&arguments, None).await?;
    Ok(reply::json(StatusCode::OK, &head(&git).await?))
}

pub(super) async fn branches(agent: &Agent, mut request: BranchesRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct One {
        name: String,
        commit: String,
        upstream: Option<String>,
        current: bool,
        remote: bool,
    }
    #[derive(Serialize)]
    struct Answer {
        current: Option<String>,
        branches: Vec<One>,
    }
    let place = request.place(agent)?;
    let git = Git::new(agent, &place, place.repository()?);
    let format = format!("--format={REF_FORMAT}");
    let arguments: [&[u8]; 4] = [
        b"for-each-ref",
        format.as_bytes(),
        b"refs/heads",
        b"refs/remotes",
    ];
    let said = git.must(&arguments, None).await?;
    let branches = read_branches(&said.output);
    let answer = Answer {
        current: head(&git).await?.branch,
        branches: branches
            .into_iter()
            .map(|b| One {
                name: b.name,
                commit: b.commit,
                upstream: b.upstream,
                current: b.current,
                remote: b.remote,
            })
            .collect(),
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

pub(super) async fn log(agent: &Agent, mut request: LogRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct One {
        id: String,
        parents: Vec<String>,
        author: String,
        email: String,
        date: String,
        subject: String,
        body: String,
    }
    #[derive(Serialize)]
    struct Answer {
        commits: Vec<One>,
    }
    let place = request.place(agent)?;
    let git = Git::new(agent, &place, place.repository()?);
    let limit = request.limit.unwrap_or(LOG);
    if !(1..=MAX_LOG).contains(&limit) {
        return Err(invalid(format!("limit is a number from 1 to {MAX_LOG}")));
    }
    let (limit, format) = (
        format!("--max-count={limit}"),
        format!("--format={LOG_FORMAT}"),
    );
    let name = request.r#ref.as_deref().unwrap_or("HEAD");
    let arguments: [&[u8]; 7] = [
        b"log",
        b"-z",
        b"--no-show-signature",
        limit.as_bytes(),
        format.as_bytes(),
        revision("ref", name)?.as_bytes(),
        b"--",
    ];
    let said: Said = git.must(&arguments, None).await?;
    let commits = commits(&said.output).into_iter();
    let answer = Answer {
        commits: commits
            .map(|c| One {
                id: c.id,
                parents: c.parents,
                author: c.author,
                email: c.email,
                date: c.date,
                subject: c.subject,
                body: c.body,
            })
            .collect(),
    };
    Ok(reply::json(StatusCode::OK, &answer))
}
