//! Requests of the agent's own protocol, as clients may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::envd::{filesystem, process};

fuzz_target!(|body: &[u8]| {
    let _ = serde_json::from_slice::<process::StartRequest>(body);
    let _ = serde_json::from_slice::<process::ProcessRequest>(body);
    let _ = serde_json::from_slice::<process::StreamInputRequest>(body);
    let _ = serde_json::from_slice::<filesystem::PathRequest>(body);
    let _ = serde_json::from_slice::<filesystem::MoveRequest>(body);
    let _ = serde_json::from_slice::<filesystem::WatcherId>(body);
});
