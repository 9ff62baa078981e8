//! What a policy says: the first rule that matches decides, and where none does the answer is no.

use super::cidr::PortRange;
use super::compiled::{compile, Admission, CompiledRule, InvalidPolicy};
use super::destination::{Destination, Host};
use super::hostname::Hostname;
use super::path_pattern::{AmbiguousPath, PlainPath};
use super::policy::{Placeholder, Policy};
use std::net::IpAddr;

/// A policy that is ready to be asked. The default lets nothing out.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicy {
    rules: Vec<CompiledRule>,
    placeholders: Vec<Placeholder>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionVerdict {
    /// By this rule, or because none matches.
    Refuse { rule: Option<usize> },
    /// It passes as it is.
    Splice { rule: usize },
    /// It must be looked into, and each request is decided by itself.
    Open,
}

impl CompiledPolicy {
    /// Reads every part of every rule.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the rule and its field.
    pub fn new(policy: Policy) -> Result<Self, InvalidPolicy> {
        Ok(Self {
            rules: compile(policy.rules)?,
            placeholders: policy.placeholders,
        })
    }

    #[must_use]
    pub fn rules(&self) -> &[CompiledRule] {
        &self.rules
    }

    #[must_use]
    pub fn rule(&self, index: usize) -> Option<&CompiledRule> {
        self.rules.get(index)
    }

    /// Every placeholder that the sandbox may hold.
    #[must_use]
    pub fn placeholders(&self) -> &[Placeholder] {
        &self.placeholders
    }

    /// Decides about a connection.
    #[must_use]
    pub fn connection(&self, to: &Destination) -> ConnectionVerdict {
        let mut inside = None;
        let mut allows = false;
        for (index, rule) in self.matching(to) {
            allows |= rule.is_allow();
            if rule.looks_inside {
                inside = inside.or(Some(index));
                continue;
            }
            return match inside {
                Some(_) if allows => ConnectionVerdict::Open,
                Some(first) => ConnectionVerdict::Refuse { rule: Some(first) },
                None if allows => ConnectionVerdict::Splice { rule: index },
                None => ConnectionVerdict::Refuse { rule: Some(index) },
            };
        }
        if allows {
            return ConnectionVerdict::Open;
        }
        ConnectionVerdict::Refuse { rule: inside }
    }

    /// The rule that decides about a request in a connection to `to`; `path` is without its query.
    ///
    /// # Errors
    /// [`AmbiguousPath`] if a rule would have to be asked about a path that can be read in two
    /// ways.
    pub fn request(
        &self,
        to: &Destination,
        method: &str,
        path: &str,
    ) -> Result<Option<(usize, &CompiledRule)>, AmbiguousPath> {
        let mut plain = None;
        for (index, rule) in self.matching(to) {
            if !rule.takes_method(method) {
                continue;
            }
            let Some(pattern) = &rule.path else {
                return Ok(Some((index, rule)));
            };
            let plain = match &plain {
                Some(plain) => plain,
                None => plain.insert(PlainPath::parse(path)?),
            };
            if pattern.matches(plain) {
                return Ok(Some((index, rule)));
            }
        }
        Ok(None)
    }

    /// Whether a name gets an address: whether a connection to it on some port could be allowed.
    #[must_use]
    pub fn resolves(&self, name: &Hostname) -> bool {
        let host = Host::Name(name.clone());
        let about: Vec<&CompiledRule> = self.rules.iter().filter(|r| r.takes(&host)).collect();
        if !about.iter().any(|rule| rule.is_allow()) {
            return false;
        }
        // What is decided changes only where a range of ports begins or has ended.
        let ranges = about.iter().flat_map(|rule| &rule.ports);
        let edges =
            ranges.flat_map(|PortRange { first, last }| [Some(*first), last.checked_add(1)]);
        let mut ports: Vec<u16> = edges.flatten().chain([1]).collect();
        ports.sort_unstable();
        ports.dedup();
        ports.into_iter().any(|port| {
            let to = Destination::name(name.clone(), port);
            !matches!(self.connection(&to), ConnectionVerdict::Refuse { .. })
        })
    }

    /// Whether `address`, which `to` is or resolves to, may be dialled by this rule. Of a name it
    /// may not where a rule before denies the address.
    #[must_use]
    pub fn admits(&self, rule: usize, to: &Destination, address: IpAddr) -> Admission {
        let address = address.to_canonical();
        let Some(decides) = self.rules.get(rule) else {
            return Admission::No;
        };
        let is_name = matches!(to.host, Host::Name(_));
        let mut before = self.rules[..rule].iter();
        let denied = is_name
            && before.any(|rule| {
                !rule.is_allow()
                    && rule.takes_port(to.port)
                    && rule.could_take(&to.host)
                    && rule.in_cidrs(address)
            });
        if denied {
            return Admission::No;
        }
        decides.grants(&to.host, address)
    }

    pub(super) fn matching<'a, 'b>(
        &'a self,
        to: &'b Destination,
    ) -> impl Iterator<Item = (usize, &'a CompiledRule)> + use<'a, 'b> {
        let rules = self.rules.iter().enumerate();
        rules.filter(|(_, rule)| rule.takes_port(to.port) && rule.takes(&to.host))
    }
}

#[cfg(test)]
mod tests;
