//! What a session's shell is told before a command.
//!
//! The shell runs [`DRIVER`], which is read whole before anything of the user's is there, so that
//! no alias can change it. It reads [`restore`]'s text from [`INPUT_FD`], evaluates the command at
//! the top level, and then writes what it has become to [`REPORT_FD`]. `docs/decisions` says why
//! each part is as it is.

use super::{quote, statements, State};

/// Where the shell finds the text that makes it what the session is.
pub const INPUT_FD: u16 = 198;
/// Where the shell writes its report.
pub const REPORT_FD: u16 = 199;

/// The shell's own program.
///
/// - Functions the user defines may have the name of any builtin. A function called `builtin` is
///   removed before reporting, and the few words before that are special builtins, which POSIX mode
///   finds before functions. Assigning a variable enters it without any word.
/// - `{ … } 199>&-` leaves the report's descriptor open under a number of bash's own, with
///   close-on-exec: what the command starts does not inherit it.
/// - As a condition the evaluation fires no second ERR trap; what is evaluated does not notice.
/// - A redirection is not traced, so `{BASH_XTRACEFD}>` silences `set -x` without a trace of it.
pub const DRIVER: &str = concat!(
    "{ . /proc/self/fd/198 && [[ 1 ]]; } >/dev/null 2>&1; ",
    "if { builtin eval \"$__wardian\"; } 199>&-; ",
    "{ __wardian=\"$? $SHELLOPTS $BASHOPTS\"; ",
    "[[ $SHELLOPTS == *posix* ]] || POSIXLY_CORRECT=y; set +efukx; ",
    "trap >&199; trap - DEBUG ERR RETURN EXIT; unset -f builtin; ",
    "[[ $__wardian == *[\\ :]posix[\\ :]* ]] || set +o posix; ",
    "{ builtin printf '\\0%s\\0' \"$__wardian\"; builtin umask; builtin printf '\\0'; ",
    "builtin pwd; builtin printf '\\0'; ",
    "builtin printf '%s\\0' \"${#DIRSTACK[@]}\" \"${DIRSTACK[@]}\" \"$#\" \"$@\"; ",
    "builtin declare -p; builtin printf '\\0'; builtin declare -f; builtin printf '\\0'; ",
    "builtin declare -F; builtin printf '\\0'; builtin alias -p; builtin printf '\\0end\\0'; } >&199; ",
    "builtin exit \"${__wardian%% *}\"; } >/dev/null 2>&1 {BASH_XTRACEFD}>/dev/null; ",
    "then [[ 1 ]]; fi",
);

/// Options of `set -o` that show what the shell reads and does.
const SHOWING: [&str; 2] = ["xtrace", "verbose"];
/// Options of `set -o` that a fresh shell has on.
const ON_AT_FIRST: [&str; 3] = ["braceexpand", "hashall", "interactive-comments"];
/// Options of `shopt` that change how the text itself is read, or that POSIX mode changes.
const AT_THE_END: [&str; 2] = ["expand_aliases", "inherit_errexit"];

/// One command, and what holds for it alone.
#[derive(Clone, Debug, Default)]
pub struct Command<'a> {
    /// The command line.
    pub line: &'a [u8],
    /// Another directory.
    pub cwd: Option<&'a [u8]>,
    /// Variables to set, or take away.
    pub env: Vec<(&'a str, Option<&'a str>)>,
}

/// The text that makes a fresh shell what the session is, and sets `__wardian` to the command.
///
/// Functions come last, all words behind them go through `builtin`; aliases are defined, but not
/// expanded, until the last line, which is read whole.
#[must_use]
pub fn restore(state: &State, command: &Command<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(state.size() + command.line.len() + 2048);
    text.extend(b"exec 198<&-\nunset BASH_EXECUTION_STRING\n");
    if !state.fresh {
        // First all off: what is on in a fresh shell differs from version to version.
        text.extend(b"shopt -u ${BASHOPTS//:/ }\nshopt -s");
        let early = state.shell_options.iter();
        for name in early.filter(|n| !AT_THE_END.contains(&n.as_str())) {
            text.extend([b" ", name.as_bytes()].concat());
        }
        text.push(b'\n');
    }
    if !state.umask.is_empty() {
        text.extend([b"umask ", state.umask.as_bytes(), b"\n"].concat());
    }
    put(&mut text, b"cd -- ", command.cwd.unwrap_or(&state.cwd));
    text.extend(&state.variables);
    if state.fresh {
        text.extend(PROFILE);
    }
    for (name, value) in &command.env {
        match value {
            Some(value) => {
                text.extend([b"export ", name.as_bytes(), b"="].concat());
                put(&mut text, b"", value.as_bytes());
            }
            None => text.extend([b"unset -v ", name.as_bytes(), b"\n"].concat()),
        }
    }
    for directory in state.directories.iter().rev() {
        put(&mut text, b"pushd -n -- ", directory);
    }
    if !state.arguments.is_empty() {
        text.extend([b"set -- ", &*quote::join(&state.arguments), b"\n"].concat());
    }
    for trap in statements::split(&state.traps).filter(|t| !is_of_the_shell(t)) {
        text.extend([trap, b"\n"].concat());
    }
    text.extend(&state.aliases);
    put(&mut text, b"__wardian=", &evaluated(state, command.line));
    text.extend(&state.functions);
    for line in state.function_attributes.split_inclusive(|&b| b == b'\n') {
        text.extend([b"builtin ", line].concat());
    }
    text.extend(last_line(state));
    text
}

/// What a login shell reads. Its input is not the command's.
const PROFILE: &[u8] = b"shopt -s expand_aliases\n\
    { [[ ! -r /etc/profile ]] || . /etc/profile\n\
    for __wardian in ~/.bash_profile ~/.bash_login ~/.profile; do\n\
    if [[ -r $__wardian ]]; then . \"$__wardian\"; break; fi\n\
    done; } </dev/null\n";

fn put(text: &mut Vec<u8>, before: &[u8], value: &[u8]) {
    text.extend(before);
    quote::push_quoted(text, value);
    text.push(b'\n');
}

/// Traps that would fire while the shell is still becoming what it was.
fn is_of_the_shell(trap: &[u8]) -> bool {
    matches!(
        statements::trapped(trap),
        Some(b"ERR" | b"RETURN" | b"DEBUG")
    )
}

/// The command line. Where `set -x`, `set -v` or a DEBUG trap is on, it is switched on by a line
/// before it, as late as can be, so that nothing but the command is seen by it.
fn evaluated(state: &State, line: &[u8]) -> Vec<u8> {
    let is_debug = |t: &&[u8]| statements::trapped(t) == Some(b"DEBUG");
    let debug = statements::split(&state.traps).find(is_debug);
    let showing: Vec<&str> = SHOWING
        .into_iter()
        .filter(|name| state.options.iter().any(|o| o == name))
        .collect();
    if debug.is_none() && showing.is_empty() {
        return line.to_vec();
    }
    let mut text = b"{ ".to_vec();
    if let Some(trap) = debug {
        text.extend([b"builtin ", trap, b"; "].concat());
    }
    for name in showing {
        text.extend(format!("builtin set -o {name}; ").bytes());
    }
    if state.status != 0 {
        text.extend(format!("(builtin exit {}); ", state.status).bytes());
    }
    text.extend(b"} >/dev/null 2>&1\n");
    text.extend(line);
    text
}

fn last_line(state: &State) -> Vec<u8> {
    let mut line = Vec::new();
    for name in ON_AT_FIRST
        .iter()
        .filter(|n| !state.fresh && !state.options.iter().any(|o| o == *n))
    {
        line.extend(format!("builtin set +o {name}; ").bytes());
    }
    // POSIX mode changes others, so it is first.
    let (posix, others): (Vec<&String>, Vec<&String>) =
        state.options.iter().partition(|o| *o == "posix");
    let later = others
        .into_iter()
        .filter(|o| !SHOWING.contains(&o.as_str()));
    for name in posix.into_iter().chain(later) {
        line.extend(format!("builtin set -o {name}; ").bytes());
    }
    for name in AT_THE_END {
        let on = state.shell_options.iter().any(|o| o == name)
            || (state.fresh && name == "expand_aliases");
        let flag = if on { "-s" } else { "-u" };
        line.extend(format!("builtin shopt {flag} {name}; ").bytes());
    }
    for trap in statements::split(&state.traps) {
        if matches!(statements::trapped(trap), Some(b"ERR" | b"RETURN")) {
            line.extend([b"builtin ", trap, b"; "].concat());
        }
    }
    line.extend(format!("builtin return {}\n", state.status).bytes());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_one_line_that_names_its_descriptors() {
        assert!(!DRIVER.contains('\n'));
        assert!(DRIVER.contains(&format!("/fd/{INPUT_FD} ")));
        assert!(DRIVER.contains(&format!("}} {REPORT_FD}>&-")));
    }

    #[test]
    fn options_that_show_come_last() {
        let state = State {
            status: 7,
            options: vec![
                "errexit".to_owned(),
                "posix".to_owned(),
                "xtrace".to_owned(),
            ],
            cwd: b"/it's".to_vec(),
            traps: b"trap -- 'echo\n' DEBUG\ntrap -- 'x' ERR\ntrap -- 'y' INT\n".to_vec(),
            ..State::default()
        };
        let command = Command {
            line: b"ls",
            cwd: None,
            env: vec![("A", Some("1")), ("B", None)],
        };
        let text = String::from_utf8(restore(&state, &command)).unwrap();
        assert!(text.contains("cd -- '/it'\\''s'\n"), "{text}");
        assert!(text.contains("export A='1'\nunset -v B\n"), "{text}");
        assert!(text.contains("trap -- 'y' INT\n"), "{text}");
        let line = text.lines().last().unwrap();
        assert!(
            line.find("-o posix").unwrap() < line.find("-o errexit").unwrap(),
            "{line}"
        );
        assert!(
            line.ends_with("builtin trap -- 'x' ERR; builtin return 7"),
            "{line}"
        );
        assert!(!line.contains("xtrace"), "{line}");
    }
}
