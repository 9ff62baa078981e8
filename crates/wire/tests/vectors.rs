//! The examples both languages read: what one side writes, the other must read as the same.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot read its examples must fail.

use serde::{de::DeserializeOwned, Serialize};
use serde_json::Value as Json;
use wardian_wire::egress::handler_frame;
use wardian_wire::{edge, launcher};

const LAUNCHER: &str = include_str!("../../../tests/vectors/launcher.json");
const EDGE: &str = include_str!("../../../tests/vectors/edge.json");
const HANDLERS: &str = include_str!("../../../tests/vectors/handlers.json");

fn examples(file: &str, kind: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(file).unwrap();
    let found = all[kind].as_array().unwrap().clone();
    assert!(!found.is_empty(), "no examples of {kind}");
    found
}

fn check<T: DeserializeOwned + Serialize>(file: &str, kind: &str) {
    for example in examples(file, kind) {
        let message: T = serde_json::from_value(example.clone())
            .unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(serde_json::to_value(&message).unwrap(), example);
    }
    for example in examples(file, &format!("refused_{kind}")) {
        assert!(
            serde_json::from_value::<T>(example.clone()).is_err(),
            "{example} should be refused"
        );
    }
}

#[test]
fn launcher_messages_are_as_the_examples_say() {
    check::<launcher::Request>(LAUNCHER, "request");
    check::<launcher::Reply>(LAUNCHER, "reply");
    check::<launcher::Event>(LAUNCHER, "event");
}

#[test]
fn edge_messages_are_as_the_examples_say() {
    check::<edge::ToEdge>(EDGE, "to_edge");
    check::<edge::FromEdge>(EDGE, "from_edge");
}

#[test]
fn handlers_heads_are_as_the_examples_say() {
    check::<handler_frame::RequestHead>(HANDLERS, "request");
    check::<handler_frame::ForwardHead>(HANDLERS, "forward");
    check::<handler_frame::ResponseHead>(HANDLERS, "response");
    check::<handler_frame::Failure>(HANDLERS, "failure");
}

#[test]
fn handlers_frames_are_as_the_examples_say() {
    for example in examples(HANDLERS, "frames") {
        let hex = example["hex"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let header = handler_frame::read_header(*bytes.first_chunk().unwrap());
        assert_eq!(header.is_err(), example["refused"] == true, "{example}");
        if let Ok((kind, length)) = header {
            assert_eq!(char::from(kind as u8).to_string(), example["kind"]);
            let there = bytes.len() - handler_frame::HEADER;
            assert_eq!(there < length, example["incomplete"] == true, "{example}");
        }
    }
}
