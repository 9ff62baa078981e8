//! What a handler's process sends is a frame that is written the same again, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::egress::handler_frame::{
    decode_head, decode_trailers, encode_head, read_header, write_header, Credit, ForwardHead, Kind,
    ResponseHead, HEADER, MAX_HEAD, MAX_PAYLOAD,
};

fuzz_target!(|frame: &[u8]| {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER>() else {
        return;
    };
    if let Ok((kind, length)) = read_header(*header) {
        assert!(length <= MAX_PAYLOAD);
        assert_eq!(write_header(kind, length).ok(), Some(*header));
    }
    if let Ok(credit) = Credit::decode(payload) {
        assert_eq!(&credit.encode()[..], payload);
    }
    let _ = decode_trailers(payload);
    if let Ok(head) = decode_head::<ForwardHead>(payload) {
        // What is read is written shorter than it may be, unless it was longer itself.
        if let Ok(again) = encode_head(Kind::Forward, &head) {
            assert_eq!(decode_head::<ForwardHead>(&again[HEADER..]).ok(), Some(head));
        } else {
            assert!(payload.len() > MAX_HEAD / 6);
        }
    }
    if let Ok(head) = decode_head::<ResponseHead>(payload) {
        assert!(encode_head(Kind::Answer, &head).is_ok() || payload.len() > MAX_HEAD / 6);
    }
});
