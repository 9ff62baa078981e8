//! A session as data: what a shell is told before a command ([`script`]), and what it says of
//! itself behind it ([`report`]).
//!
//! All of it was written by a shell inside the sandbox and goes back to one: nothing here is
//! believed, it is bounded, cut up and put together again.

pub mod quote;
pub mod report;
pub mod script;
pub mod statements;

/// What a session's shell is, between two commands. Bytes are shell source as bash wrote it,
/// unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// No shell has run yet: the user's profile is still to be read.
    pub fresh: bool,
    /// What `$?` says, 0 to 255.
    pub status: u8,
    /// Options of `set -o` that are on.
    pub options: Vec<String>,
    /// Options of `shopt` that are on; of no meaning while `fresh`.
    pub shell_options: Vec<String>,
    /// In octal digits; empty is the shell's own.
    pub umask: String,
    /// The directory, as it is.
    pub cwd: Vec<u8>,
    /// The directory stack below `cwd`, as it is.
    pub directories: Vec<Vec<u8>>,
    /// `$1` and so on, as they are.
    pub arguments: Vec<Vec<u8>>,
    /// `declare` statements.
    pub variables: Vec<u8>,
    /// Definitions of functions.
    pub functions: Vec<u8>,
    /// `declare` statements on functions, of those with attributes.
    pub function_attributes: Vec<u8>,
    /// `alias` statements.
    pub aliases: Vec<u8>,
    /// `trap` statements.
    pub traps: Vec<u8>,
}

impl State {
    /// How much it holds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [
            &self.variables,
            &self.functions,
            &self.function_attributes,
            &self.aliases,
            &self.traps,
            &self.cwd,
        ];
        let lists = self.directories.iter().chain(&self.arguments);
        texts.iter().map(|t| t.len()).sum::<usize>() + lists.map(|a| a.len() + 24).sum::<usize>()
    }

    /// Gives the variables in `names` back what they were `before`.
    pub fn keep_variables<'a>(&mut self, before: &State, names: impl IntoIterator<Item = &'a str>) {
        let names: std::collections::BTreeSet<&[u8]> =
            names.into_iter().map(str::as_bytes).collect();
        if names.is_empty() {
            return;
        }
        let is_one = |statement: &[u8]| {
            statements::variable(statement).is_some_and(|name| names.contains(name))
        };
        let mut kept = Vec::with_capacity(self.variables.len());
        let after = statements::split(&self.variables).filter(|s| !is_one(s));
        let former = statements::split(&before.variables).filter(|s| is_one(s));
        for statement in after.chain(former) {
            kept.extend(statement);
            kept.push(b'\n');
        }
        self.variables = kept;
    }
}

/// Whether a shell variable may have this name.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    matches!(name, [first, ..] if !first.is_ascii_digit())
        && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}
