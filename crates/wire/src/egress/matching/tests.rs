use super::super::policy::{Action, Allow, HandlerCall, Question, Rule};
use super::*;
use proptest::prelude::*;

fn rule(action: Action, hosts: &[&str]) -> Rule {
    Rule {
        name: "r".into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ports: vec![],
        cidrs: vec![],
        methods: vec![],
        path: None,
        action,
    }
}

fn allow(hosts: &[&str]) -> Rule {
    rule(Action::Allow(Box::default()), hosts)
}

fn deny(hosts: &[&str]) -> Rule {
    rule(Action::Deny {}, hosts)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn policy(rules: Vec<Rule>) -> CompiledPolicy {
    let placeholders = vec![];
    CompiledPolicy::new(Policy {
        rules,
        placeholders,
    })
    .unwrap()
}

fn to(text: &str) -> Destination {
    Destination::parse(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const NONE: ConnectionVerdict = ConnectionVerdict::Refuse { rule: None };

#[test]
fn the_first_that_matches_decides_and_where_none_does_the_answer_is_no() {
    let policy = policy(vec![deny(&["a.example"]), allow(&["*.example", "b.test"])]);
    let verdict = |text| policy.connection(&to(text));
    assert_eq!(
        verdict("a.example:1"),
        ConnectionVerdict::Refuse { rule: Some(0) }
    );
    assert_eq!(
        verdict("x.example:1"),
        ConnectionVerdict::Splice { rule: 1 }
    );
    assert_eq!(verdict("b.test:1"), ConnectionVerdict::Splice { rule: 1 });
    assert_eq!(verdict("example:1"), NONE);
    assert_eq!(verdict("1.1.1.1:1"), NONE);
    assert_eq!(CompiledPolicy::default().connection(&to("a:1")), NONE);
}

#[test]
fn a_connection_is_opened_only_where_a_rule_before_the_plain_one_looks_inside() {
    let mut with_path = deny(&["a.example"]);
    with_path.path = Some("/admin/**".into());
    let handler = HandlerCall {
        name: "h".into(),
        parameters: std::collections::BTreeMap::default(),
        timeout_ms: 1,
    };
    let handled = rule(
        Action::Allow(Box::new(Allow {
            handler: Some(handler),
            ..Allow::default()
        })),
        &["a.example"],
    );
    let open = |rules| policy(rules).connection(&to("a.example:443"));
    assert_eq!(
        open(vec![with_path.clone(), allow(&["*"])]),
        ConnectionVerdict::Open
    );
    assert_eq!(
        open(vec![allow(&["*"]), with_path.clone()]),
        ConnectionVerdict::Splice { rule: 0 }
    );
    assert_eq!(open(vec![handled]), ConnectionVerdict::Open);
    // Nothing could come of it: no rule lets anything out.
    assert_eq!(
        open(vec![with_path, deny(&["*"]), allow(&["*"])]),
        ConnectionVerdict::Refuse { rule: Some(0) }
    );
}

#[test]
fn each_request_is_decided_by_the_whole_list() {
    let mut admin = deny(&["a.example"]);
    admin.path = Some("/admin/**".into());
    let mut deleting = deny(&["a.example"]);
    deleting.methods = texts(&["DELETE"]);
    let mut reading = allow(&["a.example"]);
    reading.methods = texts(&["GET"]);
    let policy = policy(vec![admin, deleting, reading]);
    let there = to("a.example:443");
    let decides = |method: &str, path: &str| {
        let decided = policy.request(&there, method, path);
        decided.map(|decided| decided.map(|(index, _)| index))
    };
    assert_eq!(decides("GET", "/x"), Ok(Some(2)));
    assert_eq!(decides("GET", "/%61dmin/x"), Ok(Some(0)));
    assert_eq!(decides("delete", "/x"), Ok(Some(1)));
    assert_eq!(decides("get", "/x"), Ok(None));
    assert_eq!(decides("GET", "/a/../admin/x"), Err(AmbiguousPath));
}

#[test]
fn addresses_that_are_not_public_must_be_named() {
    let mut granted = allow(&[]);
    granted.cidrs = texts(&["10.0.0.0/8"]);
    let star = policy(vec![allow(&["*"])]);
    let cidr = policy(vec![granted]);
    let exact = policy(vec![allow(&["10.1.2.3"])]);
    for (text, by_star, by_cidr, by_exact) in [
        ("1.1.1.1:80", true, false, false),
        ("10.1.2.3:80", false, true, true),
        ("10.1.2.4:80", false, true, false),
        ("[::ffff:10.1.2.3]:80", false, true, true),
        ("169.254.169.254:80", false, false, false),
        ("a.example:80", true, false, false),
    ] {
        let passes = |policy: &CompiledPolicy| policy.connection(&to(text)) != NONE;
        assert_eq!(
            (passes(&star), passes(&cidr), passes(&exact)),
            (by_star, by_cidr, by_exact),
            "{text}"
        );
    }
    assert_eq!(
        exact.admits(0, &to("10.1.2.3:80"), ip("10.1.2.3")),
        Admission::Named
    );
    // A name may not point where only an address was granted.
    assert_eq!(
        star.admits(0, &to("a.example:80"), ip("10.1.2.3")),
        Admission::No
    );
    assert_eq!(
        star.admits(0, &to("a.example:80"), ip("1.1.1.1")),
        Admission::Public
    );
    // What is denied is denied to every address, whether public or not.
    let denied = policy(vec![deny(&["*"]), allow(&["10.1.2.3"])]);
    assert_eq!(
        denied.connection(&to("10.1.2.3:80")),
        ConnectionVerdict::Refuse { rule: Some(0) }
    );
}

#[test]
fn cidrs_also_say_where_a_name_may_lead() {
    let mut closed = deny(&[]);
    closed.cidrs = texts(&["1.1.0.0/16"]);
    let mut inner = allow(&["*.corp.example"]);
    inner.cidrs = texts(&["10.0.0.0/8"]);
    let policy = policy(vec![closed, inner, allow(&["*"])]);
    let (corp, other) = (to("a.corp.example:80"), to("b.example:80"));
    assert_eq!(
        policy.connection(&corp),
        ConnectionVerdict::Splice { rule: 1 }
    );
    assert_eq!(policy.admits(1, &corp, ip("10.9.9.9")), Admission::Named);
    assert_eq!(policy.admits(1, &corp, ip("8.8.8.8")), Admission::No);
    assert_eq!(
        policy.connection(&other),
        ConnectionVerdict::Splice { rule: 2 }
    );
    assert_eq!(policy.admits(2, &other, ip("1.1.2.3")), Admission::No);
    assert_eq!(policy.admits(2, &other, ip("1.2.2.3")), Admission::Public);
    let dialled = policy.connection(&to("1.1.2.3:80"));
    assert_eq!(dialled, ConnectionVerdict::Refuse { rule: Some(0) });
}

#[test]
fn a_name_resolves_if_some_port_of_it_could_be_allowed() {
    let ports = |mut rule: Rule, ports: &[&str]| {
        rule.ports = texts(ports);
        rule
    };
    let name = Hostname::parse("a.example").unwrap();
    let resolves = |rules| policy(rules).resolves(&name);
    assert!(resolves(vec![ports(allow(&["*"]), &["443"])]));
    assert!(!resolves(vec![deny(&["a.example"]), allow(&["*"])]));
    assert!(!resolves(vec![
        ports(deny(&["*"]), &["1-65535"]),
        allow(&["*"])
    ]));
    assert!(resolves(vec![
        ports(deny(&["*"]), &["1-442", "444-65535"]),
        allow(&["*"])
    ]));
    assert!(!resolves(vec![
        ports(deny(&["*"]), &["80-90"]),
        ports(allow(&["*"]), &["85-88"])
    ]));
}

#[test]
fn what_is_not_understood_names_rule_and_field() {
    let field = |change: fn(&mut Rule)| {
        let mut broken = allow(&["a.example"]);
        broken.name = "mine".into();
        change(&mut broken);
        let rules = vec![allow(&["*"]), broken];
        let placeholders = vec![];
        let error = CompiledPolicy::new(Policy {
            rules,
            placeholders,
        })
        .unwrap_err();
        assert_eq!(error.rule, "mine");
        error.field
    };
    assert_eq!(field(|rule| rule.hosts = vec!["127.1".into()]), "hosts");
    assert_eq!(field(|rule| rule.ports = vec!["0".into()]), "ports");
    assert_eq!(
        field(|rule| rule.cidrs = vec!["10.0.0.1/8".into()]),
        "cidrs"
    );
    assert_eq!(field(|rule| rule.methods = vec!["get".into()]), "methods");
    assert_eq!(field(|rule| rule.path = Some("/a/../b".into())), "path");
    let instead = |rule: &mut Rule| {
        rule.action = Action::Allow(Box::new(Allow {
            connect_to: Some("a".into()),
            ..Allow::default()
        }));
    };
    assert_eq!(field(instead), "connect_to");
}

#[test]
fn an_explanation_says_what_would_happen() {
    let mut reading = allow(&["a.example"]);
    reading.name = "reading".into();
    reading.methods = texts(&["GET"]);
    let policy = policy(vec![reading, allow(&["b.example"])]);
    let ask = |host: &str, method: Option<&str>| {
        policy.explain(&Question {
            host: host.into(),
            port: 443,
            method: method.map(str::to_owned),
            path: method.map(|_| "/x?y".to_owned()),
        })
    };
    let read = ask("a.example", Some("GET"));
    assert!(read.allowed && read.opened && read.resolves);
    assert_eq!(
        (read.rule.as_deref(), read.index),
        (Some("reading"), Some(0))
    );
    let written = ask("a.example", Some("POST"));
    assert!(!written.allowed && written.opened && written.rule.is_none());
    let spliced = ask("B.Example.", None);
    assert!(spliced.allowed && !spliced.opened && spliced.index == Some(1));
    for host in ["10.0.0.1", "c.example", "0x7f.1", "a b"] {
        let refused = ask(host, None);
        assert!(
            !refused.allowed && !refused.resolves && !refused.reason.is_empty(),
            "{host}"
        );
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let host = prop::sample::select(vec!["*", "a.example", "*.example", "10.0.0.1", "1.1.1.1"]);
    let ports = prop::sample::select(vec!["80", "1-79", "81-65535", "443"]);
    let cidr = prop::sample::select(vec!["10.0.0.0/8", "1.0.0.0/8", "0.0.0.0/0"]);
    let few = |each: prop::sample::Select<&'static str>| {
        prop::collection::vec(each.prop_map(str::to_owned), 0..2)
    };
    let path = prop::option::of(Just("/a/**".to_owned()));
    (any::<bool>(), few(host), few(ports), few(cidr), path).prop_map(
        |(allows, hosts, ports, cidrs, path)| {
            let mut rule = if allows { allow(&[]) } else { deny(&[]) };
            (rule.hosts, rule.ports, rule.cidrs, rule.path) = (hosts, ports, cidrs, path);
            rule
        },
    )
}

proptest! {
    #[test]
    fn a_name_resolves_exactly_if_some_port_is_not_refused(rules in prop::collection::vec(any_rule(), 0..5)) {
        let policy = policy(rules);
        let name = Hostname::parse("a.example").unwrap();
        let open = [1, 79, 80, 81, 442, 443, 444, 65535].into_iter().any(|port| {
            let there = Destination::name(name.clone(), port);
            !matches!(policy.connection(&there), ConnectionVerdict::Refuse { .. })
        });
        prop_assert_eq!(policy.resolves(&name), open);
    }

    #[test]
    fn a_spliced_connection_is_what_every_request_in_it_would_be(rules in prop::collection::vec(any_rule(), 0..6), host in prop::sample::select(vec!["a.example:80", "b.example:443", "10.0.0.1:80", "1.1.1.1:80"])) {
        let policy = policy(rules);
        let there = to(host);
        let decided = policy.request(&there, "GET", "/a/b").unwrap();
        match policy.connection(&there) {
            ConnectionVerdict::Splice { rule } => {
                prop_assert_eq!(decided.map(|(index, _)| index), Some(rule));
            }
            ConnectionVerdict::Refuse { .. } => {
                prop_assert!(decided.is_none_or(|(_, rule)| !rule.is_allow()));
            }
            ConnectionVerdict::Open => prop_assert!(policy.rules().iter().any(|r| r.looks_inside)),
        }
    }

    #[test]
    fn no_private_address_is_admitted_that_no_rule_names(rules in prop::collection::vec(any_rule(), 1..5), address: u32) {
        let address = IpAddr::from(address.to_be_bytes());
        let policy = policy(rules);
        for index in 0..policy.rules().len() {
            let rule = policy.rule(index).unwrap();
            let admitted = policy.admits(index, &to("a.example:80"), address);
            let named = rule.source.cidrs.iter().any(|c| super::super::cidr::Cidr::parse(c).unwrap().contains(address));
            if admitted != Admission::No && !super::super::public::is_public(address) {
                prop_assert!(named);
            }
        }
    }
}
