//! Rules in the form in which they are asked.

use super::cidr::{Cidr, PortRange};
use super::destination::{Destination, Host};
use super::host_pattern::HostPattern;
use super::path_pattern::PathPattern;
use super::policy::{Action, Allow, Rule, MAX_RULES};
use super::public::is_public;
use std::net::IpAddr;

/// One rule, each part of it read.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    pub source: Rule,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) ports: Vec<PortRange>,
    pub(super) cidrs: Vec<Cidr>,
    pub(super) path: Option<PathPattern>,
    /// What is dialled instead.
    pub connect_to: Option<Destination>,
    /// Whether the connection must be opened to ask or do what it says.
    pub looks_inside: bool,
}

/// Whether a rule's connection may go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    No,
    /// As any public address; one of the node's own is none.
    Public,
    /// The rule names it.
    Named,
}

/// A policy that can't be put in force.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("rule {rule:?}: {field}: {reason}")]
pub struct InvalidPolicy {
    /// The rule's name.
    pub rule: String,
    /// Which field of it.
    pub field: &'static str,
    pub reason: String,
}

/// Reads rules in their order.
///
/// # Errors
/// [`InvalidPolicy`].
pub(super) fn compile(rules: Vec<Rule>) -> Result<Vec<CompiledRule>, InvalidPolicy> {
    if let Some(above) = rules.get(MAX_RULES) {
        return Err(InvalidPolicy {
            rule: above.name.clone(),
            field: "rules",
            reason: format!("a policy has at most {MAX_RULES} rules"),
        });
    }
    rules.into_iter().map(CompiledRule::new).collect()
}

impl CompiledRule {
    fn new(source: Rule) -> Result<Self, InvalidPolicy> {
        let invalid = |field, reason: String| InvalidPolicy {
            rule: source.name.clone(),
            field,
            reason,
        };
        let hosts = read_all(&source.hosts, HostPattern::parse).map_err(|r| invalid("hosts", r))?;
        let ports = read_all(&source.ports, PortRange::parse).map_err(|r| invalid("ports", r))?;
        let cidrs = read_all(&source.cidrs, Cidr::parse).map_err(|r| invalid("cidrs", r))?;
        if let Some(method) = source.methods.iter().find(|method| !is_method(method)) {
            return Err(invalid(
                "methods",
                format!("{method:?} is not an upper-case method"),
            ));
        }
        let path = source.path.as_deref().map(PathPattern::parse).transpose();
        let path = path.map_err(|error| invalid("path", error.to_string()))?;
        let allow = allow_of(&source.action);
        let connect_to = allow.and_then(|allow| allow.connect_to.as_deref());
        let connect_to = connect_to.map(Destination::parse).transpose();
        let connect_to = connect_to.map_err(|error| invalid("connect_to", error.to_string()))?;
        let looks_inside =
            !source.methods.is_empty() || path.is_some() || allow.is_some_and(Allow::looks_inside);
        Ok(Self {
            hosts,
            ports,
            cidrs,
            path,
            connect_to,
            looks_inside,
            source,
        })
    }

    /// What it lets out, and how; `None`: nothing.
    #[must_use]
    pub fn allow(&self) -> Option<&Allow> {
        allow_of(&self.source.action)
    }

    #[must_use]
    pub fn is_allow(&self) -> bool {
        self.allow().is_some()
    }

    /// Whether it is for every name, as `*` is.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        let bare = self.hosts.is_empty() && self.cidrs.is_empty();
        bare || self.hosts.contains(&HostPattern::Any)
    }

    pub(super) fn takes_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|range| range.contains(port))
    }

    /// Deny rules take a method in any case, as some server may.
    pub(super) fn takes_method(&self, method: &str) -> bool {
        let mut methods = self.source.methods.iter();
        self.source.methods.is_empty()
            || methods
                .any(|own| own == method || (!self.is_allow() && own.eq_ignore_ascii_case(method)))
    }

    /// Whether the rule is about this host, as far as that can be known before a name is
    /// resolved: a deny rule with `cidrs` takes no name, but what it resolves to.
    pub(super) fn takes(&self, host: &Host) -> bool {
        match host {
            Host::Name(_) => (self.is_allow() || self.cidrs.is_empty()) && self.could_take(host),
            Host::Address(address) => self.takes_address(*address),
        }
    }

    /// Whether the rule is about this host if only its address lies right.
    pub(super) fn could_take(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => {
                let any = self.hosts.is_empty() && (self.cidrs.is_empty() || !self.is_allow());
                any || self.hosts.iter().any(|pattern| pattern.covers(name))
            }
            Host::Address(address) => self.hosts_take_address(*address),
        }
    }

    fn takes_address(&self, address: IpAddr) -> bool {
        self.hosts_take_address(address) && (self.cidrs.is_empty() || self.in_cidrs(address))
    }

    fn hosts_take_address(&self, address: IpAddr) -> bool {
        // Whether `*` stands for it: an allow rule must name in `cidrs` what is not public.
        let any = !self.is_allow() || !self.cidrs.is_empty() || is_public(address);
        let mut hosts = self.hosts.iter();
        (self.hosts.is_empty() && any)
            || hosts.any(|pattern| match pattern {
                HostPattern::Any => any,
                HostPattern::Address(own) => *own == address,
                HostPattern::Name(_) | HostPattern::Below(_) => false,
            })
    }

    pub(super) fn in_cidrs(&self, address: IpAddr) -> bool {
        self.cidrs.iter().any(|cidr| cidr.contains(address))
    }

    /// Whether a connection that it lets out may go to `address`, which `host` is or resolves to.
    pub(super) fn grants(&self, host: &Host, address: IpAddr) -> Admission {
        let named = matches!(host, Host::Address(dialled) if *dialled == address)
            && self.hosts.contains(&HostPattern::Address(address));
        match (self.cidrs.is_empty(), self.in_cidrs(address)) {
            (false, false) => Admission::No,
            (false, true) => Admission::Named,
            (true, _) if named => Admission::Named,
            (true, _) if is_public(address) => Admission::Public,
            (true, _) => Admission::No,
        }
    }
}

fn allow_of(action: &Action) -> Option<&Allow> {
    match action {
        Action::Allow(allow) => Some(allow),
        Action::Deny {} => None,
    }
}

fn read_all<T, E: std::fmt::Display>(
    texts: &[String],
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    let read = |text: &String| read(text).map_err(|error| format!("{text:?}: {error}"));
    texts.iter().map(read).collect()
}

fn is_method(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=32).contains(&text.len()) && text.bytes().all(fits)
}
