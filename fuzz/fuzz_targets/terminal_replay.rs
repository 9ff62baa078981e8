//! What is kept of a terminal's output is its end, byte by byte, and begins where a terminal that
//! was told what is in force can join; and no request of a client makes an impossible size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::terminal::{request, Request, MAX_SIZE};
use wardian_wire::vt::modes::Modes;
use wardian_wire::vt::parser::Parser;
use wardian_wire::vt::replay::{Replay, KEPT};

fn after(bytes: &[u8]) -> (Modes, bool) {
    let (mut parser, mut modes) = (Parser::default(), Modes::default());
    for &byte in bytes {
        modes.apply(parser.advance(byte));
    }
    (modes, parser.is_boundary())
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (cut, repeats, piece) = input;
    if let Ok(Some(Request::Resize(size))) = request(&String::from_utf8_lossy(piece)) {
        assert!((1..=MAX_SIZE).contains(&size.cols) && (1..=MAX_SIZE).contains(&size.rows));
    }
    // Repeated, so that even a short input is longer than what is kept.
    let all = piece.repeat(usize::from(repeats));
    let all = &all[..all.len().min(2 * KEPT)];
    let mut replay = Replay::default();
    for chunk in all.chunks(usize::from(cut) * 256 + 1) {
        replay.push(chunk);
    }
    let kept = replay.since(replay.start(), usize::MAX).expect("all from the start is kept");
    assert!(all.ends_with(&kept));
    assert_eq!(replay.end(), all.len() as u64);
    assert_eq!(replay.since(replay.end() + 1, 1), None);
    let whole = replay.whole();
    assert!(whole.len() <= kept.len() + 1024);
    // A sequence longer than all that is kept is entered without its parameters.
    if !kept.is_empty() && after(all).1 && after(&all[..all.len() - kept.len()]).1 {
        assert_eq!(after(&whole), after(all));
    }
});
