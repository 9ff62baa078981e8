//! A `Host` that names a sandbox names exactly that one, at that port, under this domain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::host::{parse_host, parse_port, Domain, Host};

fuzz_target!(|text: &str| {
    let domain = Domain::parse("boxes.example").expect("a domain");
    if let Ok(Host::Port { sandbox, port }) = parse_host(text, &domain) {
        let text = text.to_ascii_lowercase();
        let rest = text
            .strip_prefix(&format!("{port}-{sandbox}"))
            .expect("starts with port and id");
        let (token, after) = rest
            .split_once(".boxes.example")
            .expect("ends with the domain");
        assert!(!token.contains('.'), "one label only");
        let after = after.strip_prefix('.').unwrap_or(after);
        assert!(after.is_empty() || after[1..].bytes().all(|b| b.is_ascii_digit()));
    }
    if let Some(port) = parse_port(text) {
        assert_eq!(port.to_string(), text);
    }
    if let Ok(parsed) = Domain::parse(text) {
        assert_eq!(Domain::parse(parsed.as_str()), Ok(parsed.clone()));
        assert!(parse_host(parsed.as_str(), &parsed).is_ok());
    }
});
