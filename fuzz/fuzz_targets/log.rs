//! What lies in a log's file, which the sandbox may have written, is read as whole records or not
//! at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::log::{append, Records, HEADER, MAX_PAYLOAD};

fuzz_target!(|input: (u64, &[u8])| {
    let (at, bytes) = input;
    let mut again = Vec::new();
    let mut records = Records::new(bytes, at);
    let mut end = at;
    while let Some(Ok((header, payload))) = records.next() {
        assert!(payload.len() <= MAX_PAYLOAD);
        assert_eq!(header.cursor, end);
        assert_eq!(header.size(), HEADER + payload.len());
        end = append(&mut again, header.kind, header.cursor, header.time, payload);
    }
    assert_eq!(records.cursor(), end);
    assert!(bytes.starts_with(&again));
    assert!(records.next().is_none_or(|record| record.is_err()));
});
