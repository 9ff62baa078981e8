//! A sandbox's egress policy as the edge gets it: rules in order, the first that matches decides,
//! and where none does the answer is no. The control plane has already put presets, the caller's
//! rules and the template's into one list, and the values of secrets into their places.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most rules of one policy.
pub const MAX_RULES: usize = 512;

/// What one sandbox may reach. The default lets nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub rules: Vec<Rule>,
    /// Every placeholder the sandbox may hold, also those no rule swaps: one that goes where it
    /// does not belong is told as an attempt.
    pub placeholders: Vec<Placeholder>,
}

/// One rule. A field that is empty or absent matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What events and explanations call it.
    pub name: String,
    /// `host.name`, `*.host.name` (any depth, not `host.name` itself), `*` (every name and every
    /// public address) or an IP address.
    pub hosts: Vec<String>,
    /// `443` or `8000-8099`.
    pub ports: Vec<String>,
    /// Where the destination may lie: an address dialled directly, or what a name resolves to.
    /// Without any only public addresses are dialled, so this is also what grants private ones.
    pub cidrs: Vec<String>,
    /// Upper case. Needs the connection opened.
    pub methods: Vec<String>,
    /// A glob over the path without its query: `*` within a segment, `**` across. Needs the
    /// connection opened.
    pub path: Option<String>,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Deny {},
    Allow(Box<Allow>),
}

/// What happens to what is let out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// `host:port` dialled instead of the one asked for; TLS still verifies the name asked for.
    pub connect_to: Option<String>,
    pub inject: Vec<Injection>,
    /// Names of the placeholders swapped for their values.
    pub substitute: Vec<String>,
    pub handler: Option<HandlerCall>,
    /// Whether the values injected and substituted are masked where answers repeat them.
    pub redact: bool,
}

impl Allow {
    /// Whether the connection must be opened to do this.
    #[must_use]
    pub fn looks_inside(&self) -> bool {
        !self.inject.is_empty()
            || !self.substitute.is_empty()
            || self.handler.is_some()
            || self.redact
    }
}

/// A credential put into a request. `secrets` are the names of those in it, for events.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "into", rename_all = "snake_case", deny_unknown_fields)]
pub enum Injection {
    /// Replaces the header line of this name, or adds it.
    Header {
        name: String,
        value: String,
        secrets: Vec<NamedSecret>,
    },
    /// Replaces the query parameter of this name, or adds it; `value` is not encoded yet.
    Query {
        name: String,
        value: String,
        secrets: Vec<NamedSecret>,
    },
    /// `Authorization: Basic …`.
    Basic {
        username: String,
        password: String,
        secrets: Vec<NamedSecret>,
    },
    /// Signs the request anew with AWS Signature Version 4. Region and service are those of the
    /// signature that the sandbox made with keys of no worth, unless given.
    Sigv4 {
        access_key: String,
        secret_key: String,
        session_token: Option<String>,
        region: Option<String>,
        service: Option<String>,
        secrets: Vec<NamedSecret>,
    },
}

/// A secret's name and value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSecret {
    pub name: String,
    pub value: String,
}

/// What the sandbox holds in place of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placeholder {
    /// The secret's name.
    pub name: String,
    /// At least 16 bytes of `[A-Za-z0-9_-]`, unlike any other of the sandbox.
    pub text: String,
    pub value: String,
}

/// Python that answers or edits the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandlerCall {
    pub name: String,
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// How long the handler has to say what becomes of the request.
    pub timeout_ms: u32,
}

/// What the edge needs besides the policies, once for the whole node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// PEM of the certificate authority whose leaves opened connections show.
    pub authority_certificate: String,
    pub authority_key: String,
    /// PEM of the certificates that upstream servers are verified against.
    pub trusted: String,
}

/// A question of what would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// Of a request; without it the question is about a connection.
    pub method: Option<String>,
    pub path: Option<String>,
}

/// Which rule decides, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    pub allowed: bool,
    /// `None`: no rule matched, which is a no.
    pub rule: Option<String>,
    /// Counted from 0.
    pub index: Option<u32>,
    /// Whether the connection is opened.
    pub opened: bool,
    /// Whether the name resolves inside.
    pub resolves: bool,
    pub secrets: Vec<String>,
    pub handler: Option<String>,
    /// Why, for people.
    pub reason: String,
}

macro_rules! shows_no_values {
    ($kind:ty, $name:literal, $($field:ident),*) => {
        impl std::fmt::Debug for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name)$(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    };
}

shows_no_values!(NamedSecret, "NamedSecret", name);
shows_no_values!(Placeholder, "Placeholder", name);
shows_no_values!(Settings, "Settings", authority_certificate);

impl Injection {
    /// The secrets it holds.
    #[must_use]
    pub fn secrets(&self) -> &[NamedSecret] {
        match self {
            Self::Header { secrets, .. }
            | Self::Query { secrets, .. }
            | Self::Basic { secrets, .. }
            | Self::Sigv4 { secrets, .. } => secrets,
        }
    }
}

impl std::fmt::Debug for Injection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Header { .. } => "Header",
            Self::Query { .. } => "Query",
            Self::Basic { .. } => "Basic",
            Self::Sigv4 { .. } => "Sigv4",
        };
        f.debug_struct(kind)
            .field("secrets", &self.secrets())
            .finish_non_exhaustive()
    }
}
