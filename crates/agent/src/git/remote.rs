//! Push and pull.

use super::command::Git;
use super::credentials::{address, redaction, Credentials};
use super::local::head;
use super::request::{invalid, request, revision};
use super::Result;
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use http::StatusCode;
use serde::Serialize;
use wardian_wire::git::redact::Redaction;

request!(RemoteRequest {
    remote: Option<String>,
    branch: Option<String>,
    username: Option<String>,
    password: Option<String>,
    set_upstream: bool,
    force: bool,
    rebase: bool,
});

/// Where to, and with what.
struct Other {
    /// A remote's name, or an address without credentials.
    remote: String,
    branch: String,
}

/// Finds the other side of a call and lets `git` authenticate there.
async fn other(git: &mut Git<'_>, request: &RemoteRequest, push: bool) -> Result<Other> {
    let remote = request.remote.as_deref().unwrap_or("origin");
    let (username, password) = (request.username.as_deref(), request.password.as_deref());
    git.redaction = Redaction::new(password);
    let named = revision("remote", remote)?;
    let kind: &[u8] = if push { b"--push" } else { b"--no-push" };
    let mut url: Vec<&[u8]> = vec![b"remote", b"get-url"];
    url.extend(push.then_some(kind));
    url.extend([b"--".as_slice(), named.as_bytes()]);
    let configured = git.run(&url, None, |_| ()).await?.line();
    let known = configured.is_some();
    let at = address(configured.as_deref().unwrap_or(remote))?;
    git.credentials = Credentials::new(&at, username, password)?;
    git.redaction = redaction(Some(&at), git.credentials.as_ref());
    let branch = match &request.branch {
        Some(branch) => revision("branch", branch)?.to_owned(),
        None => head(git)
            .await?
            .branch
            .ok_or_else(|| invalid("no branch is checked out").hint("say which one with branch"))?,
    };
    Ok(Other {
        remote: if known { named.to_owned() } else { at.target },
        branch,
    })
}

pub(super) async fn push(agent: &Agent, mut request: RemoteRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer {
        branch: String,
        commit: Option<String>,
        up_to_date: bool,
    }
    let place = request.place(agent)?;
    if request.rebase {
        return Err(invalid("rebase is for pull"));
    }
    let mut git = Git::new(agent, &place, place.repository()?);
    let other = other(&mut git, &request, true).await?;
    let reference = format!("refs/heads/{}", other.branch);
    let mut arguments: Vec<&[u8]> = vec![b"push", b"--porcelain"];
    if request.set_upstream {
        arguments.push(b"--set-upstream");
    }
    if request.force {
        arguments.push(b"--force");
    }
    arguments.extend([
        b"--".as_slice(),
        other.remote.as_bytes(),
        reference.as_bytes(),
    ]);
    let said = git.must(&arguments, None).await?;
    let lines = String::from_utf8_lossy(&said.output);
    let local: [&[u8]; 4] = [b"rev-parse", b"--quiet", b"--verify", reference.as_bytes()];
    let commit = git.run(&local, None, |_| ()).await?;
    let answer = Answer {
        branch: other.branch,
        commit: commit.line(),
        up_to_date: lines.lines().any(|line| line.starts_with("=\t")),
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

pub(super) async fn pull(agent: &Agent, mut request: RemoteRequest) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer {
        branch: Option<String>,
        commit: Option<String>,
        updated: bool,
    }
    let place = request.place(agent)?;
    if request.force || request.set_upstream {
        return Err(invalid("force and set_upstream are for push"));
    }
    let mut git = Git::new(agent, &place, place.repository()?);
    let before = head(&git).await?;
    let other = other(&mut git, &request, false).await?;
    let mut arguments: Vec<&[u8]> = vec![b"pull", b"--no-edit", b"--no-recurse-submodules"];
    if request.rebase {
        arguments.push(b"--rebase");
    }
    arguments.extend([
        b"--".as_slice(),
        other.remote.as_bytes(),
        other.branch.as_bytes(),
    ]);
    git.must(&arguments, None).await?;
    let after = head(&git).await?;
    let answer = Answer {
        updated: before.commit != after.commit,
        branch: after.branch,
        commit: after.commit,
    };
    Ok(reply::json(StatusCode::OK, &answer))
}
