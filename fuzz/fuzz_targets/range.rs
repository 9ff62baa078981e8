//! A part of a file lies inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::range::{select, Selection};

fuzz_target!(|input: (u64, &str)| {
    let (size, header) = input;
    for header in [header.to_owned(), format!("bytes={header}")] {
        if let Selection::Part { start, end } = select(Some(&header), size) {
            assert!(start < end && end <= size);
        }
    }
});
