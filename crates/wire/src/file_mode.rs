//! Permission bits as people write them: octal digits, or the clauses of chmod(1).

/// What is to become of the permission bits of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Exactly these.
    Exact(u32),
    /// One clause after another.
    Clauses(Vec<Clause>),
}

/// `u+rwx` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Which bits `who` stands for: of `0o7777`.
    who: u32,
    action: Action,
    /// Permissions for all three classes at once, and the set-id and sticky bits.
    bits: u32,
    /// `X`: execution, for directories and what somebody may execute.
    conditional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
    Set,
}

/// The text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no mode: write octal digits such as 755, or clauses such as u+x,go-w")]
pub struct InvalidMode(String);

/// All bits there are.
pub const ALL: u32 = 0o7777;
const LONGEST: usize = 256;

impl Change {
    /// Reads `755`, `0755`, `u+x`, `a=rX,u+w`. A clause without a class means all of them; unlike
    /// in a shell no umask is taken off.
    ///
    /// # Errors
    /// [`InvalidMode`].
    pub fn parse(text: &str) -> Result<Self, InvalidMode> {
        let invalid = || InvalidMode(text.chars().take(40).collect());
        if text.is_empty() || text.len() > LONGEST {
            return Err(invalid());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
            return if mode <= ALL {
                Ok(Self::Exact(mode))
            } else {
                Err(invalid())
            };
        }
        let clauses = text.split(',').map(clauses).collect::<Option<Vec<_>>>();
        Ok(Self::Clauses(clauses.ok_or_else(invalid)?.concat()))
    }

    /// The permission bits that `mode` becomes.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Exact(exact) => *exact,
            Self::Clauses(clauses) => clauses
                .iter()
                .fold(mode & ALL, |mode, clause| clause.apply(mode, is_directory)),
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = self.bits;
        if self.conditional && (is_directory || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        let bits = bits & self.who;
        match self.action {
            Action::Add => mode | bits,
            Action::Remove => mode & !bits,
            // A directory keeps its set-id bits unless they are named, as with chmod(1).
            Action::Set if is_directory => (mode & (!self.who | 0o6000)) | bits,
            Action::Set => (mode & !self.who) | bits,
        }
    }
}

/// `ug+r-x` is two clauses.
fn clauses(text: &str) -> Option<Vec<Clause>> {
    let start = text.find(['+', '-', '='])?;
    let (classes, mut rest) = text.split_at(start);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => ALL,
            _ => return None,
        };
    }
    if classes.is_empty() {
        who = ALL;
    }
    // `t` is written without a class, or with any of them.
    who |= 0o1000;
    let mut found = Vec::new();
    while let Some(sign) = rest.chars().next() {
        let action = match sign {
            '+' => Action::Add,
            '-' => Action::Remove,
            '=' => Action::Set,
            _ => return None,
        };
        rest = rest.get(1..)?;
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let (letters, after) = rest.split_at(end);
        found.push(clause(who, action, letters)?);
        rest = after;
    }
    Some(found)
}

fn clause(who: u32, action: Action, letters: &str) -> Option<Clause> {
    let (mut bits, mut conditional) = (0, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => conditional = true,
            _ => return None,
        }
    }
    Some(Clause {
        who,
        action,
        bits,
        conditional,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn modes_mean_what_chmod_says() {
        for (text, before, directory, after) in [
            ("755", 0o600, false, 0o755),
            ("0", 0o777, false, 0),
            ("4755", 0, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a=r", 0o755, false, 0o444),
            ("go-rwx", 0o777, false, 0o700),
            ("u=rw,go=r", 0o777, false, 0o644),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o744, false, 0o755),
            ("a+X", 0o600, true, 0o711),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("u=rwx", 0o2755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("u+r-x", 0o300, false, 0o600),
        ] {
            let change = Change::parse(text).unwrap();
            assert_eq!(
                change.apply(before, directory),
                after,
                "{text} on {before:o}"
            );
        }
        for wrong in [
            "", "8", "77777", "u", "z+x", "u+q", "u+x,", "rwx", "+x,,g-w", "ü+x",
        ] {
            assert!(Change::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_gives_more_than_permission_bits(text in "[ugoa+=,rwxXst0-7-]{0,20}", mode in 0u32..=ALL) {
            if let Ok(change) = Change::parse(&text) {
                prop_assert!(change.apply(mode, true) <= ALL);
                prop_assert!(change.apply(mode, false) <= ALL);
            }
        }
    }
}
