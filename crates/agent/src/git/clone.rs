//! Clone: a stream of progress, then what came of it.

use super::command::Git;
use super::credentials::{address, redaction, Credentials};
use super::local::head;
use super::request::{invalid, request, revision, Place};
use super::Result;
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::http::reply::Reply;
use crate::http::sse;
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::sync::mpsc;
use wardian_wire::git::progress::Progress;
use wardian_wire::git::url::Address;
use wardian_wire::path_text::PathText;

request!(CloneRequest {
    url: String,
    branch: Option<String>,
    depth: Option<u32>,
    username: Option<String>,
    password: Option<String>,
});

#[derive(Serialize)]
struct Step<'a> {
    stage: &'a str,
    percent: u8,
}

#[derive(Serialize)]
struct Done {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    branch: Option<String>,
    commit: Option<String>,
}

#[derive(Serialize)]
struct Failed<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// A clone that can be begun.
struct Clone {
    place: Place,
    address: Address,
    credentials: Option<Credentials>,
    target: PathBuf,
    branch: Option<String>,
    depth: Option<u32>,
}

/// Answers with the stream; what is wrong with the request itself is refused before it.
pub(super) fn clone(agent: &Rc<Agent>, mut request: CloneRequest) -> Result<Reply> {
    let place = request.place(agent)?;
    let address = address(&request.url)?;
    let credentials = Credentials::new(
        &address,
        request.username.as_deref(),
        request.password.as_deref(),
    )?;
    if let Some(branch) = &request.branch {
        revision("branch", branch)?;
    }
    if request.depth == Some(0) {
        return Err(invalid("depth is a number of at least 1"));
    }
    let target = match &place.path {
        Some(path) => path.clone(),
        None => place.user.home.join(name_in(&address.clean)?),
    };
    let clone = Clone {
        place,
        address,
        credentials,
        target,
        branch: request.branch,
        depth: request.depth,
    };
    let (events, reply) = sse::stream();
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = tell(&agent, &clone, &events) => {}
            // Dropping the clone kills git; what it has made so far stays.
            () = events.left() => {}
        }
    });
    Ok(reply)
}

/// The directory's name git would choose: the last part of the address, without `.git`.
fn name_in(url: &str) -> Result<String> {
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix("/.git").unwrap_or(path);
    let last = path.rsplit(['/', ':']).next().unwrap_or("");
    let name = last.strip_suffix(".git").unwrap_or(last);
    if matches!(name, "" | "." | "..") || name.starts_with('-') {
        return Err(invalid("the address has no name to make a directory of").hint("give a path"));
    }
    Ok(name.to_owned())
}

async fn tell(agent: &Rc<Agent>, clone: &Clone, events: &sse::Events) {
    let (sender, mut steps) = mpsc::unbounded_channel::<Progress>();
    let mut last = None;
    let work = async {
        // Git tells each percent of each stage once: a few hundred at most.
        let done = carry_out(agent, clone, |step| {
            if last.as_ref() != Some(&step) {
                let _ = sender.send(step.clone());
                last = Some(step);
            }
        })
        .await;
        drop(sender);
        done
    };
    let telling = async {
        while let Some(step) = steps.recv().await {
            let step = Step {
                stage: &step.stage,
                percent: step.percent,
            };
            // Who has left is noticed elsewhere.
            let _ = events.send("progress", &step).await;
        }
    };
    let (done, ()) = tokio::join!(work, telling);
    // As above.
    let _ = match done {
        Ok(done) => events.send("done", &done).await,
        Err(problem) => {
            let failed = Failed {
                code: problem.code,
                message: &problem.message,
                hint: problem.hint,
            };
            events.send("error", &failed).await
        }
    };
}

async fn carry_out(
    agent: &Agent,
    clone: &Clone,
    progress: impl FnMut(Progress),
) -> std::result::Result<Done, Problem> {
    let mut git = Git::new(agent, &clone.place, clone.place.user.home.clone());
    git.anywhere = true;
    git.credentials.clone_from(&clone.credentials);
    git.redaction = redaction(Some(&clone.address), clone.credentials.as_ref());
    let depth = clone.depth.map(|depth| format!("--depth={depth}"));
    let branch = clone.branch.as_ref().map(|name| format!("--branch={name}"));
    let mut arguments: Vec<&[u8]> = vec![b"clone", b"--progress"];
    arguments.extend(depth.as_deref().map(str::as_bytes));
    arguments.extend(branch.as_deref().map(str::as_bytes));
    let target = clone.target.as_os_str().as_bytes();
    arguments.extend([b"--".as_slice(), clone.address.target.as_bytes(), target]);
    let said = git.run(&arguments, None, progress).await?;
    if !said.ok() {
        return Err(git.problem(&said));
    }
    let git = Git::new(agent, &clone.place, clone.target.clone());
    if clone.address.target != clone.address.clean {
        let clean = clone.address.clean.as_bytes();
        let arguments: [&[u8]; 5] = [b"remote", b"set-url", b"--", b"origin", clean];
        git.must(&arguments, None).await?;
    }
    let head = head(&git).await?;
    let path = PathText::new(target);
    Ok(Done {
        path: path.text,
        path_b64: path.base64,
        branch: head.branch,
        commit: head.commit,
    })
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn directories_are_named_as_git_names_them() {
        for (url, name) in [
            ("https://h/a/b.git", "b"),
            ("https://h/a/b/", "b"),
            ("git@h:c.git", "c"),
            ("/srv/d/.git", "d"),
            ("file:///srv/e", "e"),
        ] {
            assert_eq!(name_in(url).unwrap(), name);
        }
        for url in ["https://h/..", "/", "h:-x"] {
            assert!(name_in(url).is_err(), "{url}");
        }
    }
}
