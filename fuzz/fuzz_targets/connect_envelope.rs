//! A stream of Connect envelopes means the same however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::connect::{Decoder, EnvelopeError, MAX_MESSAGE};

fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<EnvelopeError>) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => seen.push(message),
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let whole = messages(std::iter::once(stream));
    assert!(whole.0.iter().all(|message| message.len() <= MAX_MESSAGE));
    assert_eq!(whole, messages(stream.chunks(usize::from(cut).max(1))));
});
