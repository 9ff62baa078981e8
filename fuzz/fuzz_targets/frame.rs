//! What a peer sends as frames means the same however the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::frame::{Decoder, MAX_BODY};

fn bodies<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_body() {
                Ok(Some(body)) => seen.push(body),
                Ok(None) => break,
                Err(_) => return (seen, false),
            }
        }
    }
    (seen, true)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let whole = bodies(std::iter::once(stream));
    assert!(whole.0.iter().all(|body| body.len() <= MAX_BODY));
    assert_eq!(whole, bodies(stream.chunks(usize::from(cut).max(1))));
});
