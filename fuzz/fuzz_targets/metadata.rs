//! Metadata that is accepted fits into extended attributes and holds no control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::metadata::{collect, MAX_KEY, MAX_TOTAL};

fuzz_target!(|headers: Vec<(&str, &[u8])>| {
    let named: Vec<(String, &[u8])> = headers
        .iter()
        .map(|(name, value)| (format!("x-metadata-{name}"), *value))
        .collect();
    if let Ok(found) = collect(named.iter().map(|(name, value)| (name.as_str(), *value))) {
        let total: usize = found.iter().map(|(k, v)| k.len() + v.len()).sum();
        assert!(total <= MAX_TOTAL);
        for (key, value) in &found {
            assert!(!key.is_empty() && key.len() <= MAX_KEY);
            assert!(key
                .bytes()
                .chain(value.bytes())
                .all(|b| (0x20..=0x7e).contains(&b)));
        }
    }
});
