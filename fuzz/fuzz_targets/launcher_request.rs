//! Whatever the launcher reads as a request is one it would write, and names only safe files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::frame;
use wardian_wire::launcher::{Reply, Request};

fn safe_name(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = frame::decode::<Request>(body) {
        match &request {
            Request::Create(create) => {
                assert!(safe_name(create.sandbox.as_str()));
                assert!(create.layers.iter().all(|layer| safe_name(layer.as_str())));
            }
            Request::Kill { sandbox } => assert!(safe_name(sandbox.as_str())),
            Request::ImportLayer { layer } | Request::RemoveLayer { layer } => {
                assert!(safe_name(layer.as_str()) && layer.as_str().len() == 64);
            }
            _ => {}
        }
        let written = serde_json::to_vec(&request).expect("a request is always writable");
        assert_eq!(
            frame::decode::<Request>(&written).expect("and readable"),
            request
        );
    }
    let _ = frame::decode::<Reply>(body);
});
