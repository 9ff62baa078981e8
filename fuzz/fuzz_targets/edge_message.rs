//! Messages between control plane and edge, the boot configuration and node.json: what is read
//! is what would be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{de::DeserializeOwned, Serialize};
use std::fmt::Debug;
use wardian_wire::boot::Boot;
use wardian_wire::edge::{FromEdge, ToEdge};
use wardian_wire::node::Node;

fn returns<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<T>(body) {
        let written = serde_json::to_vec(&message).expect("writable");
        assert_eq!(
            serde_json::from_slice::<T>(&written).expect("readable"),
            message
        );
    }
}

fuzz_target!(|body: &[u8]| {
    returns::<ToEdge>(body);
    returns::<FromEdge>(body);
    returns::<Boot>(body);
    returns::<Node>(body);
});
