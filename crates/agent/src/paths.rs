//! What a path in a request means.

use crate::users::User;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The path cannot be meant for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPath {
    #[error("path contains a NUL byte")]
    Nul,
    #[error("path names the home of another user; only ~ and ~/… are understood")]
    OtherHome,
}

/// Empty is the default directory, `~` the user's home, relative starts at the home. The result
/// is absolute and holds no `.`, `..` or empty parts; links are not followed.
///
/// # Errors
/// [`InvalidPath`].
pub(crate) fn resolve(
    path: &[u8],
    user: &User,
    default: Option<&Path>,
) -> Result<PathBuf, InvalidPath> {
    if path.contains(&0) {
        return Err(InvalidPath::Nul);
    }
    let joined = match path {
        b"" => default.unwrap_or(&user.home).to_owned(),
        b"~" => user.home.clone(),
        [b'~', b'/', rest @ ..] => user.home.join(relative(rest)),
        [b'~', ..] => return Err(InvalidPath::OtherHome),
        _ => user.home.join(OsStr::from_bytes(path)),
    };
    Ok(clean(&joined))
}

/// `~//etc` is still below home.
fn relative(rest: &[u8]) -> &Path {
    let start = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
    Path::new(OsStr::from_bytes(&rest[start..]))
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::Normal(name) => cleaned.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "user".to_owned(),
            uid: 1,
            gid: 1,
            home: PathBuf::from("/home/user"),
            groups: vec![1],
        }
    }

    #[test]
    fn paths_mean_what_e2b_says() {
        let work = Path::new("/work");
        for (path, expected) in [
            ("", "/work"),
            ("~", "/home/user"),
            ("~/a", "/home/user/a"),
            ("~//etc", "/home/user/etc"),
            ("a/b", "/home/user/a/b"),
            ("/x/./y/../z", "/x/z"),
            ("../../../etc", "/etc"),
            ("/", "/"),
        ] {
            let resolved = resolve(path.as_bytes(), &user(), Some(work)).unwrap();
            assert_eq!(resolved, Path::new(expected), "{path}");
        }
        assert_eq!(
            resolve(b"", &user(), None).unwrap(),
            Path::new("/home/user")
        );
        assert_eq!(
            resolve(b"~root/x", &user(), None),
            Err(InvalidPath::OtherHome)
        );
        assert_eq!(resolve(b"a\0b", &user(), None), Err(InvalidPath::Nul));
    }
}
