//! What a policy would say to something, for people.

use super::compiled::CompiledRule;
use super::destination::{Destination, Host};
use super::matching::{CompiledPolicy, ConnectionVerdict};
use super::policy::{Allow, Explanation, Injection, Policy, Question};
use super::public::is_public;

/// Answers a question of what a policy would say; one that can't be read says no to everything.
#[must_use]
pub fn explain(policy: Policy, question: &Question) -> Explanation {
    match CompiledPolicy::new(policy) {
        Ok(policy) => policy.explain(question),
        Err(error) => no(format!("the policy can't be put in force: {error}")),
    }
}

impl CompiledPolicy {
    /// Answers a question of what would happen.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Explanation {
        let Some(host) = Host::parse(&question.host) else {
            return no(format!(
                "{:?} is neither a host name nor an address",
                question.host
            ));
        };
        let resolves = match &host {
            Host::Name(name) => self.resolves(name),
            Host::Address(_) => false,
        };
        let to = Destination {
            host,
            port: question.port,
        };
        let verdict = self.connection(&to);
        let opened = verdict == ConnectionVerdict::Open;
        let mut explanation = match (verdict, &question.method, &question.path) {
            (ConnectionVerdict::Refuse { rule }, ..) => self.refused(rule, &to),
            (ConnectionVerdict::Splice { rule }, ..) => {
                self.decided(rule, "the connection passes without being opened")
            }
            (ConnectionVerdict::Open, None, None) => self.decided_inside(&to),
            (ConnectionVerdict::Open, method, path) => {
                let method = method.as_deref().unwrap_or("GET");
                self.request_decided(&to, method, path.as_deref().unwrap_or("/"))
            }
        };
        explanation.opened = opened;
        explanation.resolves = resolves;
        explanation
    }

    fn refused(&self, rule: Option<usize>, to: &Destination) -> Explanation {
        if let Some(rule) = rule {
            return self.decided(rule, "the connection is refused");
        }
        match to.host {
            Host::Address(address) if !is_public(address) => no(format!(
                "no rule names {address} in its hosts or cidrs, and it is not a public address"
            )),
            _ => no(format!("no rule matches {to}")),
        }
    }

    /// A connection whose requests are each decided by the whole list.
    fn decided_inside(&self, to: &Destination) -> Explanation {
        let first = self.matching(to).find(|(_, rule)| rule.is_allow());
        let Some((index, _)) = first else {
            return no(format!("no rule matches {to}"));
        };
        let mut explanation = self.decided(
            index,
            "the connection is opened and each request in it is decided by itself",
        );
        explanation.secrets.clear();
        explanation.handler = None;
        explanation
    }

    fn request_decided(&self, to: &Destination, method: &str, path: &str) -> Explanation {
        let path = path.split('?').next().unwrap_or_default();
        match self.request(to, method, path) {
            Err(error) => no(format!("{error}, and a rule asks about it")),
            Ok(None) => no(format!("no rule matches {method} {path} at {to}")),
            Ok(Some((index, _))) => self.decided(index, "it decides about the request"),
        }
    }

    fn decided(&self, index: usize, what: &str) -> Explanation {
        let Some(rule) = self.rule(index) else {
            return no("no rule matches".to_owned());
        };
        let word = if rule.is_allow() { "allows" } else { "denies" };
        let allow = rule.allow();
        Explanation {
            allowed: rule.is_allow(),
            rule: Some(rule.source.name.clone()),
            index: u32::try_from(index).ok(),
            opened: false,
            resolves: false,
            secrets: allow.map(secret_names).unwrap_or_default(),
            handler: allow
                .and_then(|allow| allow.handler.as_ref())
                .map(|call| call.name.clone()),
            reason: format!(
                "rule {:?} {word} it: {what}{}",
                rule.source.name,
                limits(rule)
            ),
        }
    }
}

/// What is only known when the connection is made.
fn limits(rule: &CompiledRule) -> String {
    match (&rule.connect_to, rule.cidrs.is_empty()) {
        _ if !rule.is_allow() => String::new(),
        (Some(instead), _) => format!("; {instead} is dialled instead"),
        (None, true) => String::new(),
        (None, false) => format!(
            "; only addresses in {} are dialled",
            rule.source.cidrs.join(", ")
        ),
    }
}

fn secret_names(allow: &Allow) -> Vec<String> {
    let injected = allow.inject.iter().flat_map(Injection::secrets);
    let mut names: Vec<String> = injected.map(|secret| secret.name.clone()).collect();
    names.extend(allow.substitute.iter().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

fn no(reason: String) -> Explanation {
    Explanation {
        allowed: false,
        rule: None,
        index: None,
        opened: false,
        resolves: false,
        secrets: Vec::new(),
        handler: None,
        reason,
    }
}
