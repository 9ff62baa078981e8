//! What a session's shell says is read or refused, and what is read can be told to the next shell.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::session::report::parse;
use wardian_wire::session::script::{restore, Command};

fuzz_target!(|report: &[u8]| {
    if let Ok(mut state) = parse(report) {
        let before = state.clone();
        state.keep_variables(&before, ["PATH", "OLDPWD"]);
        assert!(state.size() <= before.size() + 1);
        assert!(!restore(&state, &Command::default()).contains(&0));
    }
});
