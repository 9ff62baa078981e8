//! The rules that the control plane takes are rules that the edge can read, and both mean the same
//! by a host: the examples are those of the control plane's own tests.

#![allow(clippy::unwrap_used)] // A test that cannot read its examples must fail.

use serde_json::Value as Json;
use wardian_wire::egress::cidr::{Cidr, PortRange};
use wardian_wire::egress::destination::Destination;
use wardian_wire::egress::host_pattern::HostPattern;
use wardian_wire::egress::hostname::Hostname;
use wardian_wire::egress::matching::CompiledPolicy;
use wardian_wire::egress::policy::{Action, Allow, Policy, Rule};

const RULES: &str = include_str!("../../../tests/vectors/egress_rules.json");

/// Pairs of what is given and the spelling in which it is kept.
fn accepted(kind: &str) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    examples(kind, "accepted")
        .iter()
        .map(|example| match example.as_array() {
            Some(pair) => (text(&pair[0]), text(&pair[1])),
            None => (text(example), text(example)),
        })
        .collect()
}

fn examples(kind: &str, what: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(RULES).unwrap();
    let found = all[kind][what].as_array().unwrap().clone();
    assert!(!found.is_empty(), "no examples of {kind}");
    found
}

fn rule() -> Rule {
    Rule {
        name: "r".into(),
        hosts: Vec::new(),
        ports: Vec::new(),
        cidrs: Vec::new(),
        methods: Vec::new(),
        path: None,
        action: Action::Allow(Box::default()),
    }
}

fn reads(rule: Rule) -> bool {
    let policy = Policy {
        rules: vec![rule],
        placeholders: Vec::new(),
    };
    CompiledPolicy::new(policy).is_ok()
}

#[test]
fn what_the_control_plane_takes_the_edge_reads() {
    for (given, kept) in accepted("hosts") {
        let (given, kept) = (HostPattern::parse(&given), HostPattern::parse(&kept));
        assert!(given.is_ok() && given == kept, "{kept:?}");
    }
    for (given, kept) in accepted("cidrs") {
        let (given, kept) = (Cidr::parse(&given), Cidr::parse(&kept));
        assert!(given.is_ok() && given == kept, "{kept:?}");
    }
    for (given, kept) in accepted("connect_to") {
        let (given, kept) = (Destination::parse(&given), Destination::parse(&kept));
        assert!(given.is_ok() && given == kept, "{kept:?}");
        let allow = Allow {
            connect_to: Some(kept.unwrap().to_string()),
            ..Allow::default()
        };
        let action = Action::Allow(Box::new(allow));
        assert!(reads(Rule { action, ..rule() }));
    }
    for (port, _) in accepted("ports") {
        let ports = vec![port.clone()];
        assert!(reads(Rule { ports, ..rule() }), "{port}");
    }
    for (path, _) in accepted("paths") {
        let read = Rule {
            path: Some(path.clone()),
            ..rule()
        };
        assert!(reads(read), "{path}");
    }
    for (method, _) in accepted("methods") {
        let methods = vec![method.clone()];
        assert!(reads(Rule { methods, ..rule() }), "{method}");
    }
}

#[test]
fn what_leads_elsewhere_than_it_says_neither_takes() {
    let refused = |kind| {
        let texts = examples(kind, "refused").into_iter();
        texts.map(|text| text.as_str().unwrap().to_owned())
    };
    for text in refused("hosts") {
        assert!(HostPattern::parse(&text).is_err(), "{text:?}");
    }
    for text in refused("ports") {
        assert!(PortRange::parse(&text).is_err(), "{text:?}");
    }
    for text in refused("cidrs") {
        assert!(Cidr::parse(&text).is_err(), "{text:?}");
    }
    for text in refused("connect_to") {
        assert!(Destination::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn a_pattern_covers_the_names_that_the_control_plane_says() {
    for (covers, what) in [(true, "yes"), (false, "no")] {
        for pair in examples("covers", what) {
            let text = |place: usize| pair[place].as_str().unwrap().to_owned();
            // Patterns below patterns are the control plane's own question.
            let (Ok(pattern), Ok(name)) = (HostPattern::parse(&text(0)), Hostname::parse(&text(1)))
            else {
                continue;
            };
            assert_eq!(pattern.covers(&name), covers, "{pair}");
        }
    }
}
