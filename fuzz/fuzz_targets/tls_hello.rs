//! A first message that is read was all there: no end before its own would have done.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::tls_hello::parse;

fuzz_target!(|stream: &[u8]| {
    if let Ok(Some(hello)) = parse(stream) {
        assert!(hello.length <= stream.len());
        assert_eq!(parse(&stream[..hello.length - 1]), Ok(None));
        assert_eq!(parse(&stream[..hello.length]), Ok(Some(hello)));
    }
});
