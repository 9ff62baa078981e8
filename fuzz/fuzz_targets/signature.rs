//! No text but the signature itself is accepted, and no time after its expiry.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::signature::{check, sign, Operation};
use wardian_wire::timestamp::rfc3339;

fuzz_target!(|input: (&[u8], &str, &str, &str, Option<i64>, i64)| {
    let (path, user, token, guess, expiry, now) = input;
    let good = sign(path, Operation::Read, user, token, expiry);
    assert_eq!(
        check(Some(guess), &good, expiry, now).is_ok(),
        guess == good && expiry.is_none_or(|e| e >= now)
    );
    assert_eq!(
        check(Some(&good), &good, expiry, now).is_ok(),
        expiry.is_none_or(|e| e >= now)
    );
    assert_ne!(good, sign(path, Operation::Write, user, token, expiry));
    assert!(rfc3339(now, 0).len() == 20);
});
