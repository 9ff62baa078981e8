//! `git log` and `git for-each-ref`, in formats of our own: fields that end with NUL bytes.

use super::records;

/// The format of `git log -z`. Neither names nor messages can hold NUL.
pub const LOG_FORMAT: &str = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%s%x00%b";
const LOG_FIELDS: usize = 7;
/// The format of `git for-each-ref`; a line break follows each.
pub const REF_FORMAT: &str =
    "%(refname)%00%(objectname)%00%(upstream:short)%00%(HEAD)%00%(symref)%00";
const REF_FIELDS: usize = 5;

/// A commit. What is no UTF-8 is shown with U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    pub parents: Vec<String>,
    pub author: String,
    pub email: String,
    /// ISO 8601, with the author's offset.
    pub date: String,
    pub subject: String,
    pub body: String,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// With the remote's name in front for one of a remote.
    pub name: String,
    pub commit: String,
    pub upstream: Option<String>,
    pub current: bool,
    pub remote: bool,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads what `git log -z` said in [`LOG_FORMAT`].
#[must_use]
pub fn commits(bytes: &[u8]) -> Vec<Commit> {
    // Not `records`: an empty body ends the output with two NUL bytes.
    let whole = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let fields: Vec<&[u8]> = whole.split(|&byte| byte == 0).collect();
    let commits = fields.chunks_exact(LOG_FIELDS).filter_map(|fields| {
        let [id, parents, author, email, date, subject, body] = fields else {
            return None;
        };
        Some(Commit {
            id: text(id),
            parents: text(parents)
                .split(' ')
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect(),
            author: text(author),
            email: text(email),
            date: text(date),
            subject: text(subject),
            body: text(body).trim_end().to_owned(),
        })
    });
    commits.collect()
}

/// Reads what `git for-each-ref` said in [`REF_FORMAT`]. A remote's `HEAD` is no branch.
#[must_use]
pub fn branches(bytes: &[u8]) -> Vec<Branch> {
    let fields: Vec<&[u8]> = records(bytes).collect();
    let branches = fields.chunks(REF_FIELDS).filter_map(|fields| {
        let [name, commit, upstream, head, symref] = fields else {
            return None;
        };
        let name = text(name);
        let name = name.trim_start_matches('\n');
        let (name, remote) = match name.strip_prefix("refs/heads/") {
            Some(name) => (name, false),
            None => (name.strip_prefix("refs/remotes/")?, true),
        };
        symref.is_empty().then(|| Branch {
            name: name.to_owned(),
            commit: text(commit),
            upstream: Some(text(upstream)).filter(|u| !u.is_empty()),
            current: *head == b"*",
            remote,
        })
    });
    branches.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commits_and_branches_are_read() {
        let said = b"aa\0bb cc\0Ann\0a@x\x002026-01-02T03:04:05+00:00\0one\0more\n\0bb\0\0Bob\0b@x\0d\0two\0\0";
        let read = commits(said);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].parents.len(), read[0].body.as_str()), (2, "more"));
        assert_eq!(
            (
                read[1].id.as_str(),
                read[1].body.as_str(),
                read[1].parents.len()
            ),
            ("bb", "", 0)
        );
        assert_eq!(commits(b""), []);
        let said = b"refs/heads/main\0aa\0origin/main\0*\0\0\nrefs/remotes/origin/HEAD\0aa\0\0 \0refs/remotes/origin/main\0\nrefs/remotes/origin/x/y\0bb\0\0 \0\0\n";
        let read = branches(said);
        assert_eq!(read.len(), 2);
        assert!(read[0].current && read[0].name == "main" && read[0].upstream.is_some());
        assert!(read[1].remote && read[1].name == "origin/x/y" && read[1].upstream.is_none());
    }

    proptest! {
        #[test]
        fn noise_is_read_or_left(noise in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..120)) {
            let _ = commits(&noise);
            let _ = branches(&noise);
        }
    }
}
