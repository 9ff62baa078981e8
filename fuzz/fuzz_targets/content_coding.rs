//! Accept-Encoding: a part of a file is never compressed, whatever the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::content_coding::{choose, Coding};

fuzz_target!(|header: &str| {
    let _ = choose(Some(header), false);
    assert_ne!(choose(Some(header), true), Ok(Coding::Gzip));
});
