//! What a session's shell says of itself when its command has ended: fields, each ended by NUL,
//! which no shell value can hold.
//!
//! ```text
//! traps, "status set-options shopt-options", umask, directory,
//! count, that many directories of the stack, count, that many arguments,
//! declare -p, declare -f, declare -F, alias -p, "end"
//! ```

use super::{statements, State};

/// The longest report that is taken, in bytes.
pub const MAX_REPORT: usize = 4 * 1024 * 1024;

/// Variables that belong to the running shell and not to the session: they say where it is, are
/// made anew by each, or can't be set. `PWD` is set by going there.
const OF_THE_SHELL: [&[u8]; 33] = [
    b"BASH",
    b"BASHOPTS",
    b"BASHPID",
    b"BASH_ALIASES",
    b"BASH_ARGC",
    b"BASH_ARGV",
    b"BASH_ARGV0",
    b"BASH_CMDS",
    b"BASH_COMMAND",
    b"BASH_EXECUTION_STRING",
    b"BASH_LINENO",
    b"BASH_MONOSECONDS",
    b"BASH_SOURCE",
    b"BASH_SUBSHELL",
    b"BASH_TRAPSIG",
    b"BASH_VERSINFO",
    b"BASH_VERSION",
    b"BASH_XTRACEFD",
    b"DIRSTACK",
    b"EPOCHREALTIME",
    b"EPOCHSECONDS",
    b"EUID",
    b"FUNCNAME",
    b"GROUPS",
    b"HISTCMD",
    b"LINENO",
    b"PIPESTATUS",
    b"PPID",
    b"PWD",
    b"SHELLOPTS",
    b"UID",
    b"_",
    b"__wardian",
];
/// Random numbers that began anew with an old one would repeat themselves.
const DYNAMIC: [&[u8]; 3] = [b"RANDOM", b"SECONDS", b"SRANDOM"];

/// A report that can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is longer than {MAX_REPORT} bytes")]
    TooLong,
    #[error("something else was written in its place")]
    Garbled,
}

/// Reads a report.
///
/// # Errors
/// [`Unreadable`].
pub fn parse(bytes: &[u8]) -> Result<State, Unreadable> {
    let mut fields = Fields(bytes);
    let state = fields.state();
    match state {
        Some(state) if fields.next() == Some(b"end") && fields.0.is_empty() => Ok(state),
        _ if bytes.len() >= MAX_REPORT => Err(Unreadable::TooLong),
        _ => Err(Unreadable::Garbled),
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&b| b == 0)?;
        let (field, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(field)
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let field = self.next()?;
        Some(field.strip_suffix(b"\n").unwrap_or(field))
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let count: usize = std::str::from_utf8(self.next()?).ok()?.parse().ok()?;
        (0..count)
            .map(|_| self.next().map(<[u8]>::to_vec))
            .collect()
    }

    fn state(&mut self) -> Option<State> {
        let traps = self.next()?.to_vec();
        let mut words = std::str::from_utf8(self.next()?).ok()?.split(' ');
        let status = words.next()?.parse().ok()?;
        let options = names(words.next()?)?;
        let shell_options = names(words.next()?)?;
        let umask = std::str::from_utf8(self.line()?).ok()?.to_owned();
        let cwd = self.line()?.to_vec();
        if !umask.bytes().all(|b| b.is_ascii_digit()) || !cwd.starts_with(b"/") {
            return None;
        }
        let mut directories = self.list()?;
        // The first is the directory itself.
        directories.drain(..directories.len().min(1));
        Some(State {
            fresh: false,
            status,
            options,
            shell_options,
            umask,
            cwd,
            directories,
            arguments: self.list()?,
            variables: variables(self.next()?),
            functions: self.next()?.to_vec(),
            function_attributes: attributes(self.next()?),
            aliases: self.next()?.to_vec(),
            traps,
        })
    }
}

/// Names of options, joined by colons. They become words of a command.
fn names(text: &str) -> Option<Vec<String>> {
    let is_name = |name: &&str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    let names = text.split(':').filter(|name| !name.is_empty());
    let all: Vec<&str> = names.collect();
    all.iter()
        .all(is_name)
        .then(|| all.into_iter().map(str::to_owned).collect())
}

/// The variables that make up the session. The locale comes last: until then every byte is a
/// character.
fn variables(text: &[u8]) -> Vec<u8> {
    let (mut kept, mut locale) = (Vec::with_capacity(text.len()), Vec::new());
    for statement in statements::split(text) {
        let Some(name) = statements::variable(statement) else {
            continue;
        };
        if OF_THE_SHELL.contains(&name) || DYNAMIC.contains(&name) {
            continue;
        }
        let of_locale = name == b"LANG" || name.starts_with(b"LC_");
        let to = if of_locale { &mut locale } else { &mut kept };
        to.extend(statement);
        to.push(b'\n');
    }
    kept.extend(locale);
    kept
}

/// The functions that have attributes, of `declare -F`.
fn attributes(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|&b| b == b'\n');
    let with = lines.filter(|l| l.starts_with(b"declare -f") && !l.starts_with(b"declare -f "));
    with.flat_map(|line| [line, b"\n"].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORT: &[u8] = b"trap -- 'echo' EXIT\n\x003 braceexpand:xtrace extglob:cmdhist\x000022\n\0/a\nb\n\
        \x002\0/a\nb\0/c\x001\0x y\0declare -r UID=\"0\"\ndeclare -x LANG=\"C\"\ndeclare -- A=\"\n\"\n\0\
        f () \n{ \n    :\n}\n\0declare -f f\ndeclare -fx g\n\0alias a='b'\n\0end\0";

    #[test]
    fn a_report_is_read() {
        let state = parse(REPORT).unwrap();
        assert_eq!(state.status, 3);
        assert_eq!(state.options, ["braceexpand", "xtrace"]);
        assert_eq!(state.shell_options, ["extglob", "cmdhist"]);
        assert_eq!(
            (state.umask.as_str(), state.cwd.as_slice()),
            ("0022", b"/a\nb".as_slice())
        );
        assert_eq!(state.directories, [b"/c"]);
        assert_eq!(state.arguments, [b"x y"]);
        assert_eq!(
            state.variables,
            b"declare -- A=\"\n\"\ndeclare -x LANG=\"C\"\n"
        );
        assert_eq!(state.function_attributes, b"declare -fx g\n");
        let mut later = state.clone();
        later.variables = b"declare -- A=\"2\"\ndeclare -- B=\"3\"\n".to_vec();
        later.keep_variables(&state, ["A", "LANG", "B"]);
        assert_eq!(later.variables, state.variables);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for cut in 0..REPORT.len() {
            assert_eq!(parse(&REPORT[..cut]), Err(Unreadable::Garbled), "{cut}");
        }
        assert_eq!(parse(&vec![b'x'; MAX_REPORT]), Err(Unreadable::TooLong));
        let with = |from: &str, to: &str| {
            let text = String::from_utf8(REPORT.to_vec())
                .unwrap()
                .replace(from, to);
            parse(text.as_bytes())
        };
        for (from, to) in [
            ("0022", "0022;reboot"),
            ("extglob", "$(reboot)"),
            ("3 brace", "256 brace"),
            ("\x002\0", "\x00999999999999\0"),
            ("/a\nb\n", "a\n"),
            ("end\0", "end\0more\0"),
        ] {
            assert_eq!(with(from, to), Err(Unreadable::Garbled), "{to}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200),
                              at in 0..REPORT.len()) {
            let _ = parse(&noise);
            let mut broken = REPORT.to_vec();
            broken.splice(at..at, noise);
            let _ = parse(&broken);
        }
    }
}
