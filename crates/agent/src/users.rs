//! Users of the sandbox, by name, from its own /etc/passwd and /etc/group.

use rustix::fs::{Mode, OFlags};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use wardian_wire::accounts;

/// How much of either file is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The most supplementary groups a user gets.
const MAX_GROUPS: usize = 1024;

/// Somebody to run commands and own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    /// All groups, `gid` first.
    pub(crate) groups: Vec<u32>,
}

/// There is no such user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("error looking up user '{0}': there is no such user in /etc/passwd")]
pub(crate) struct UnknownUser(pub(crate) String);

/// The user called `name`, or with that number, as images may name theirs. Root is there even if
/// no file says so.
///
/// # Errors
/// [`UnknownUser`].
pub(crate) fn lookup(name: &str) -> Result<User, UnknownUser> {
    let passwd = read("/etc/passwd");
    let account = accounts::by_name(&passwd, name)
        .or_else(|| root(name))
        .or_else(|| numbered(&passwd, name));
    let Some(account) = account else {
        return Err(UnknownUser(name.to_owned()));
    };
    let groups = accounts::groups_of(&read("/etc/group"), &account.name, account.gid, MAX_GROUPS);
    let home = if account.home.is_empty() {
        b"/".to_vec()
    } else {
        account.home
    };
    Ok(User {
        name: account.name,
        uid: account.uid,
        gid: account.gid,
        home: PathBuf::from(std::ffi::OsString::from_vec(home)),
        groups,
    })
}

/// There is no such group.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no group '{0}' in /etc/group")]
pub(crate) struct UnknownGroup(pub(crate) String);

/// The number of the group `name`, which may be a number itself.
///
/// # Errors
/// [`UnknownGroup`].
pub(crate) fn group(name: &str) -> Result<u32, UnknownGroup> {
    let known = accounts::gid_of_name(&read("/etc/group"), name);
    let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let number = || {
        name.parse::<u32>()
            .ok()
            .filter(|&n| digits && n != u32::MAX)
    };
    let root = (name == "root").then_some(0);
    let found = known.or_else(number).or(root);
    found.ok_or_else(|| UnknownGroup(name.to_owned()))
}

/// The program /etc/passwd has user `name` log in with.
pub(crate) fn login_shell(name: &str) -> Option<String> {
    let shell = accounts::shell_of(&read("/etc/passwd"), name)?;
    String::from_utf8(shell).ok().filter(|s| !s.is_empty())
}

fn root(name: &str) -> Option<accounts::Account> {
    let home = if std::path::Path::new("/root").is_dir() {
        "/root"
    } else {
        "/"
    };
    (name == "root").then(|| accounts::Account {
        name: name.to_owned(),
        uid: 0,
        gid: 0,
        home: home.as_bytes().to_vec(),
    })
}

/// A user known only by number, `1000` or `1000:1000`.
fn numbered(passwd: &[u8], name: &str) -> Option<accounts::Account> {
    let (uid, gid) = name.split_once(':').unwrap_or((name, "0"));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>()
            .ok()
            .filter(|&n| digits && n != u32::MAX)
    };
    let (uid, gid) = (number(uid)?, number(gid)?);
    if let Some(known) = accounts::name_of_uid(passwd, uid) {
        return accounts::by_name(passwd, &known);
    }
    Some(accounts::Account {
        name: uid.to_string(),
        uid,
        gid,
        home: b"/".to_vec(),
    })
}

/// Names for numbers, read once per request.
pub(crate) struct Names {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Names {
    pub(crate) fn load() -> Self {
        Self {
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }

    /// The name of a user, its number where it has none.
    pub(crate) fn user(&self, uid: u32) -> String {
        accounts::name_of_uid(&self.passwd, uid).unwrap_or_else(|| uid.to_string())
    }

    /// The name of a group, its number where it has none.
    pub(crate) fn group(&self, gid: u32) -> String {
        accounts::name_of_gid(&self.group, gid).unwrap_or_else(|| gid.to_string())
    }
}

/// The file's bytes, nothing if it is absent or no plain file: images without either exist, and
/// a sandbox may have put a FIFO there for the agent to hang on.
fn read(path: &str) -> Vec<u8> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut bytes = Vec::new();
    if let Ok(fd) = rustix::fs::open(path, flags, Mode::empty()) {
        let file = std::fs::File::from(fd);
        if file.metadata().is_ok_and(|m| m.is_file()) {
            // A file that can't be read to its end names those it could.
            let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_always_there_and_strangers_are_not() {
        assert_eq!(lookup("root").unwrap().uid, 0);
        assert_eq!(
            lookup("no such user"),
            Err(UnknownUser("no such user".to_owned()))
        );
        let bare = lookup("3999999999:7").unwrap();
        assert_eq!((bare.uid, bare.gid), (3_999_999_999, 7));
        assert!(lookup("-1").is_err());
        assert!(lookup("4294967295").is_err());
    }
}
