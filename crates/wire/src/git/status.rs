//! `git status --porcelain=v2 --branch -z`.

use super::records;

/// A path that differs from what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: Vec<u8>,
    /// Where it was, for what was renamed or copied.
    pub from: Option<Vec<u8>>,
    /// One letter for the index, one for the working tree, `.` for unchanged: `M`, `A`, `D`, `R`,
    /// `C`, `T`, `U`; `?` in both for what git does not know.
    pub index: char,
    pub worktree: char,
    /// Two sides changed it and nobody has decided.
    pub conflict: bool,
}

/// How a working tree differs from what is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `None` when no branch is checked out.
    pub branch: Option<String>,
    /// `None` before the first commit.
    pub commit: Option<String>,
    pub upstream: Option<String>,
    pub ahead: u64,
    pub behind: u64,
    pub files: Vec<File>,
}

/// Reads what git said. Lines of kinds that are not known are left out, as git asks for.
#[must_use]
pub fn parse(bytes: &[u8]) -> Status {
    let mut status = Status::default();
    let mut records = records(bytes);
    while let Some(record) = records.next() {
        match record {
            [b'#', b' ', header @ ..] => read_header(&mut status, header),
            [b'1', b' ', rest @ ..] => status.files.extend(changed(rest, 7, None)),
            [b'2', b' ', rest @ ..] => {
                let from = records.next().map(<[u8]>::to_vec);
                status.files.extend(changed(rest, 8, from));
            }
            [b'u', b' ', rest @ ..] => {
                let file = changed(rest, 9, None);
                status.files.extend(file.map(|f| File {
                    conflict: true,
                    ..f
                }));
            }
            [b'?', b' ', path @ ..] => status.files.push(File {
                path: path.to_vec(),
                from: None,
                index: '?',
                worktree: '?',
                conflict: false,
            }),
            _ => {}
        }
    }
    status
}

fn read_header(status: &mut Status, header: &[u8]) {
    let header = String::from_utf8_lossy(header);
    let (name, value) = header.split_once(' ').unwrap_or((&header, ""));
    match name {
        "branch.oid" if value != "(initial)" => status.commit = Some(value.to_owned()),
        "branch.head" if value != "(detached)" => status.branch = Some(value.to_owned()),
        "branch.upstream" => status.upstream = Some(value.to_owned()),
        "branch.ab" => {
            for word in value.split(' ') {
                match word.split_at_checked(1) {
                    Some(("+", count)) => status.ahead = count.parse().unwrap_or(0),
                    Some(("-", count)) => status.behind = count.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// `<XY> …fields… <path>`: the path follows `fields` words, XY among them.
fn changed(rest: &[u8], fields: usize, from: Option<Vec<u8>>) -> Option<File> {
    let mut parts = rest.splitn(fields + 1, |&byte| byte == b' ');
    let &[index, worktree] = parts.next()? else {
        return None;
    };
    let path = parts.nth(fields - 1)?;
    Some(File {
        path: path.to_vec(),
        from,
        index: char::from(index),
        worktree: char::from(worktree),
        conflict: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let said = [
            "# branch.oid 0123",
            "# branch.head main",
            "# branch.upstream origin/main",
            "# branch.ab +2 -3",
            "1 .M N... 100644 100644 100644 aa bb with space",
            "2 R. N... 100644 100644 100644 aa bb R100 new",
            "old\nname",
            "u UU N... 100644 100644 100644 100644 aa bb cc both",
            "? -rf",
            "! ignored",
            "9 unheard of",
        ]
        .join("\0");
        let status = parse(format!("{said}\0").as_bytes());
        assert_eq!(status.branch.as_deref(), Some("main"));
        assert_eq!(status.commit.as_deref(), Some("0123"));
        assert_eq!(status.upstream.as_deref(), Some("origin/main"));
        assert_eq!((status.ahead, status.behind), (2, 3));
        let told: Vec<_> = status
            .files
            .iter()
            .map(|f| {
                let from = f.from.as_deref().map(String::from_utf8_lossy);
                format!(
                    "{}{} {} {:?} {}",
                    f.index,
                    f.worktree,
                    String::from_utf8_lossy(&f.path),
                    from,
                    f.conflict
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ".M with space None false",
                "R. new Some(\"old\\nname\") false",
                "UU both None true",
                "?? -rf None false",
            ]
        );
        assert_eq!(parse(b""), Status::default());
        assert_eq!(
            parse(b"# branch.oid (initial)\0# branch.head (detached)\0"),
            Status::default()
        );
    }

    proptest! {
        #[test]
        fn noise_is_read_or_left(noise in prop::collection::vec(prop_oneof![Just(0), Just(b' '), any::<u8>()], 0..200)) {
            let _ = parse(&noise);
        }

        #[test]
        fn names_come_back(name in prop::collection::vec(1u8.., 1..40)) {
            let line = [b"? ".as_slice(), &name, b"\0"].concat();
            prop_assert_eq!(&parse(&line).files[0].path, &name);
        }
    }
}
