//! What git finds in its environment, and the configuration it is always given.

use std::collections::BTreeMap;
use wardian_wire::git::url::ALLOWED_PROTOCOLS;

/// In front of every command: no work left behind in the background, where it would be killed.
pub(super) const CONFIGURATION: [&str; 6] = [
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "color.ui=false",
];
/// What git reads of its environment, as it must be: nothing asks, nothing pages, words of the
/// locale C, paths taken literally.
const VARIABLES: [(&str, &str); 11] = [
    ("LC_ALL", "C"),
    ("LANGUAGE", ""),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", ""),
    ("SSH_ASKPASS", ""),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", ":"),
    ("GIT_MERGE_AUTOEDIT", "no"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_ALLOW_PROTOCOL", ALLOWED_PROTOCOLS),
];
/// What would lead git to another repository or program, or have it write down what it sends.
const DROPPED: [&str; 17] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// The variables of git, `KEY=value`: what was `given` without what would mislead it, ours, and
/// `more`; later ones win.
pub(super) fn of<'a>(
    given: &[Vec<u8>],
    more: impl Iterator<Item = (&'static str, &'a str)>,
) -> Vec<Vec<u8>> {
    let mut variables = BTreeMap::new();
    for pair in given {
        let text = String::from_utf8_lossy(pair);
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        let family = |prefix: &str| key.starts_with(prefix);
        let dropped = DROPPED.contains(&key) || family("GIT_CONFIG_") || family("GIT_TRACE_");
        if !dropped {
            variables.insert(key.to_owned(), value.to_owned());
        }
    }
    for (key, value) in VARIABLES {
        variables.insert(key.to_owned(), value.to_owned());
    }
    for (key, value) in more {
        variables.insert(key.to_owned(), value.to_owned());
    }
    let pairs = variables.into_iter();
    pairs
        .map(|(key, value)| format!("{key}={value}").into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_misleads_git_is_left_out_and_ours_wins() {
        let given = [
            "GIT_DIR=/x",
            "GIT_TRACE_CURL=1",
            "GIT_CONFIG_COUNT=1",
            "LC_ALL=de",
            "A=b=c",
        ];
        let given: Vec<_> = given.iter().map(|g| g.as_bytes().to_vec()).collect();
        let variables = of(&given, [("GIT_PAGER", "less")].into_iter());
        let has = |pair: &str| variables.iter().any(|v| v == pair.as_bytes());
        assert!(has("A=b=c") && has("LC_ALL=C") && has("GIT_PAGER=less"));
        assert!(!variables
            .iter()
            .any(|v| v.starts_with(b"GIT_DIR") || v.starts_with(b"GIT_TR")));
        assert!(!has("GIT_CONFIG_COUNT=1"));
    }
}
