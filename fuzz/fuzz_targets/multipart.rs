//! A multipart body gives the same parts however it is cut, and no more bytes than came in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::multipart::{boundary, Event, Parser, Part};

type Parts = Vec<(Part, Vec<u8>, bool)>;

fn parts<'a>(boundary: &str, pieces: impl Iterator<Item = &'a [u8]>) -> (Parts, bool, bool) {
    let mut parser = Parser::new(boundary);
    let mut seen: Parts = Vec::new();
    for piece in pieces {
        parser.feed(piece);
        loop {
            match parser.next_event() {
                Ok(Some(Event::Part(part))) => seen.push((part, Vec::new(), false)),
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    seen.last_mut().expect("data lies in a part").1.extend(data);
                }
                Ok(Some(Event::PartEnd)) => seen.last_mut().expect("a part ends").2 = true,
                Ok(Some(Event::End)) => assert!(parser.is_done()),
                Ok(None) => break,
                Err(_) => return (seen, parser.is_done(), false),
            }
        }
    }
    (seen, parser.is_done(), true)
}

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (cut, content_type, body) = input;
    let found = boundary(content_type).unwrap_or("b");
    let whole = parts(found, std::iter::once(body));
    let kept: usize = whole.0.iter().map(|(_, data, _)| data.len()).sum();
    assert!(kept <= body.len());
    let cut = parts(found, body.chunks(usize::from(cut).max(1)));
    // A body that breaks off or is malformed may be told sooner or later; a good one may not.
    if whole.1 && whole.2 {
        assert_eq!(whole, cut);
    }
});
