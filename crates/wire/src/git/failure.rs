//! Why git failed, from its words in the locale `C`.

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    RepositoryNotFound,
    BranchNotFound,
    AuthenticationFailed,
    Network,
    PathExists,
    NothingToCommit,
    Rejected,
    Conflict,
    NotARepository,
    Failed,
}

/// What git says, and what it means; the first that fits counts. Authentication stands before
/// repositories: many servers answer alike, and git ends both with the same line.
const SIGNS: &[(Kind, &[&str])] = &[
    (
        Kind::NothingToCommit,
        &[
            "nothing to commit",
            "nothing added to commit",
            "no changes added to commit",
        ],
    ),
    (
        Kind::AuthenticationFailed,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied (",
            "Host key verification failed",
            "The requested URL returned error: 401",
            "The requested URL returned error: 403",
            "HTTP Basic: Access denied",
        ],
    ),
    (
        Kind::NotARepository,
        &["not a git repository", "not in a git directory"],
    ),
    (
        Kind::BranchNotFound,
        &[
            "not found in upstream",
            "couldn't find remote ref",
            "did not match any file(s) known to git",
            "does not match any",
            "unknown revision or path not in the working tree",
            "is not a commit and a branch",
            "invalid reference",
            "bad revision",
            "ambiguous argument",
            "does not have any commits yet",
        ],
    ),
    (
        Kind::Conflict,
        &[
            "CONFLICT (",
            "would be overwritten by",
            "Automatic merge failed",
            "you have unmerged files",
            "you need to resolve your current index first",
            "not possible because you have unmerged files",
        ],
    ),
    (
        Kind::Rejected,
        &[
            "[rejected]",
            "[remote rejected]",
            "failed to push some refs",
            "Not possible to fast-forward",
            "divergent branches",
            "protected branch",
        ],
    ),
    (
        Kind::PathExists,
        &[
            "already exists and is not an empty directory",
            "already exists",
        ],
    ),
    (
        Kind::Network,
        &[
            "Could not resolve host",
            "Failed to connect",
            "Couldn't connect to server",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Network is unreachable",
            "No route to host",
            "unable to connect",
            "unable to look up",
            "early EOF",
            "the remote end hung up unexpectedly",
            "The remote end hung up unexpectedly",
            "Empty reply from server",
            "RPC failed",
            "gnutls_handshake",
            "SSL certificate problem",
            "Operation too slow",
            "The requested URL returned error: 5",
        ],
    ),
    (
        Kind::RepositoryNotFound,
        &[
            "does not appear to be a git repository",
            "Repository not found",
            "' not found",
            "does not exist",
            "repository not exported",
            "access denied or repository not exported",
            "info/refs not valid",
            "Could not read from remote repository",
        ],
    ),
];

impl Kind {
    /// What git's output means.
    #[must_use]
    pub fn of(said: &str) -> Self {
        let found = SIGNS
            .iter()
            .find(|(_, signs)| signs.iter().any(|sign| said.contains(sign)));
        found.map_or(Self::Failed, |(kind, _)| *kind)
    }

    /// The code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RepositoryNotFound => "git_repository_not_found",
            Self::BranchNotFound => "git_branch_not_found",
            Self::AuthenticationFailed => "git_authentication_failed",
            Self::Network => "git_network",
            Self::PathExists => "git_path_exists",
            Self::NothingToCommit => "git_nothing_to_commit",
            Self::Rejected => "git_rejected",
            Self::Conflict => "git_conflict",
            Self::NotARepository => "git_not_a_repository",
            Self::Failed => "git_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_s_words_are_understood() {
        for (said, kind) in [
            ("fatal: repository 'http://127.0.0.1/x/' not found", Kind::RepositoryNotFound),
            ("fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.", Kind::RepositoryNotFound),
            ("fatal: Remote branch nope not found in upstream origin", Kind::BranchNotFound),
            ("fatal: Authentication failed for 'http://h/r/'", Kind::AuthenticationFailed),
            ("fatal: could not read Username for 'http://h': terminal prompts disabled", Kind::AuthenticationFailed),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", Kind::AuthenticationFailed),
            ("fatal: unable to access 'http://h/': Failed to connect to h port 1: Connection refused", Kind::Network),
            ("fatal: unable to access 'http://h/': Could not resolve host: h", Kind::Network),
            ("fatal: destination path 'x' already exists and is not an empty directory.", Kind::PathExists),
            ("On branch main\nnothing to commit, working tree clean", Kind::NothingToCommit),
            (" ! [rejected]        main -> main (fetch first)\nerror: failed to push some refs", Kind::Rejected),
            ("error: pathspec 'x' did not match any file(s) known to git", Kind::BranchNotFound),
            ("error: Your local changes to the following files would be overwritten by checkout:", Kind::Conflict),
            ("fatal: not a git repository (or any of the parent directories): .git", Kind::NotARepository),
            ("fatal: something new", Kind::Failed),
        ] {
            assert_eq!(Kind::of(said), kind, "{said}");
        }
    }
}
