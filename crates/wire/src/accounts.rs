//! /etc/passwd and /etc/group, strictly: what the files say and nothing else. The sandbox wrote
//! them, so each number is checked and every line that is not well-formed is as if absent.

/// One line of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// The home directory; bytes, for a path need not be UTF-8.
    pub home: Vec<u8>,
}

/// (uid_t)-1 means "leave as it is" to the kernel's calls, so it is nobody's.
const NOBODY_CAN_BE: u32 = u32::MAX;

fn fields(file: &[u8], count: usize) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|&b| b == b'\n').filter_map(move |line| {
        let fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
        (fields.len() == count && !line.contains(&0)).then_some(fields)
    })
}

fn id(field: &[u8]) -> Option<u32> {
    let digits = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(field).ok().filter(|_| digits)?;
    text.parse().ok().filter(|&id| id != NOBODY_CAN_BE)
}

fn account(fields: &[&[u8]]) -> Option<Account> {
    let name = std::str::from_utf8(fields[0]).ok()?;
    (!name.is_empty()).then_some(())?;
    Some(Account {
        name: name.to_owned(),
        uid: id(fields[2])?,
        gid: id(fields[3])?,
        home: fields[5].to_vec(),
    })
}

/// Finds an account in the bytes of /etc/passwd.
#[must_use]
pub fn by_name(passwd: &[u8], name: &str) -> Option<Account> {
    fields(passwd, 7)
        .filter(|f| f[0] == name.as_bytes())
        .find_map(|f| account(&f))
}

/// The program an account logs in with, by its first good line in /etc/passwd.
#[must_use]
pub fn shell_of(passwd: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut lines = fields(passwd, 7).filter(|f| f[0] == name.as_bytes());
    lines.find(|f| account(f).is_some()).map(|f| f[6].to_vec())
}

/// The first name that has `uid` in /etc/passwd.
#[must_use]
pub fn name_of_uid(passwd: &[u8], uid: u32) -> Option<String> {
    let found = fields(passwd, 7).find(|f| id(f[2]) == Some(uid))?;
    Some(String::from_utf8_lossy(found[0]).into_owned())
}

/// The first name that has `gid` in /etc/group.
#[must_use]
pub fn name_of_gid(group: &[u8], gid: u32) -> Option<String> {
    let found = fields(group, 4).find(|f| id(f[2]) == Some(gid))?;
    Some(String::from_utf8_lossy(found[0]).into_owned())
}

/// The number of the group `name` in /etc/group.
#[must_use]
pub fn gid_of_name(group: &[u8], name: &str) -> Option<u32> {
    fields(group, 4)
        .filter(|f| f[0] == name.as_bytes())
        .find_map(|f| id(f[2]))
}

/// The groups /etc/group puts `name` into, its own `gid` first, each once, at most `limit`.
#[must_use]
pub fn groups_of(group: &[u8], name: &str, gid: u32, limit: usize) -> Vec<u32> {
    let mut groups = vec![gid];
    for line in fields(group, 4) {
        let member = line[3].split(|&b| b == b',').any(|m| m == name.as_bytes());
        if let Some(id) = id(line[2]).filter(|id| member && !groups.contains(id)) {
            groups.push(id);
        }
    }
    groups.truncate(limit);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/bash\nbroken\nevil:x:4294967295:1::/:/bin/sh\n\
        neg:x:-1:1::/:/bin/sh\nuser:x:1000:1001:,,,:/home/user:/bin/bash\nuser:x:0:0::/:/bin/sh\n";
    const GROUP: &[u8] =
        b"root:x:0:\nsudo:x:27:other,user\nuser:x:1001:\nbad:x:y:user\ndocker:x:27:user\nx:x:5:user2\n";

    #[test]
    fn the_first_good_line_wins() {
        let user = by_name(PASSWD, "user").unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1001));
        assert_eq!(user.home, b"/home/user");
        assert_eq!(shell_of(PASSWD, "user").as_deref(), Some(&b"/bin/bash"[..]));
        assert_eq!(shell_of(PASSWD, "evil"), None);
        assert_eq!(by_name(PASSWD, "evil"), None);
        assert_eq!(by_name(PASSWD, "neg"), None);
        assert_eq!(by_name(PASSWD, ""), None);
        assert_eq!(name_of_uid(PASSWD, 0).as_deref(), Some("root"));
        assert_eq!(name_of_gid(GROUP, 27).as_deref(), Some("sudo"));
    }

    #[test]
    fn membership_is_by_whole_names() {
        assert_eq!(groups_of(GROUP, "user", 1001, 32), [1001, 27]);
        assert_eq!(groups_of(GROUP, "user", 1001, 1), [1001]);
        assert_eq!(groups_of(GROUP, "use", 9, 32), [9]);
    }

    proptest! {
        #[test]
        fn noise_never_panics_nor_yields_minus_one(noise in prop::collection::vec(any::<u8>(), 0..200), name in "[a-z]{0,3}") {
            if let Some(account) = by_name(&noise, &name) {
                prop_assert!(account.uid != u32::MAX && account.gid != u32::MAX);
            }
            let _ = groups_of(&noise, &name, 1, 4);
        }
    }
}
