//! What is read as a name is no address in any spelling, and everything reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::egress::destination::Destination;
use wardian_wire::egress::hostname::{parse_address, Hostname};
use wardian_wire::egress::path_pattern::{PathPattern, PlainPath};

fuzz_target!(|text: &str| {
    if let Ok(name) = Hostname::parse(text) {
        assert!(parse_address(name.as_str()).is_none());
        assert_eq!(Hostname::parse(name.as_str()), Ok(name));
    }
    if let Ok(there) = Destination::parse(text) {
        assert_eq!(Destination::parse(&there.to_string()), Ok(there));
    }
    if let (Ok(everything), Ok(path)) = (PathPattern::parse("**"), PlainPath::parse(text)) {
        assert!(everything.matches(&path));
    }
});
