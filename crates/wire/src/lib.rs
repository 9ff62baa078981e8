//! What the parts of a node say to each other, and nothing else.
//!
//! No I/O lives here: every parser takes bytes and gives values, so that each can be
//! property-tested and fuzzed. The Python side of the same messages is
//! `src/wardian/server/node/protocol.py`; `tests/vectors/` holds examples that both sides read.
#![forbid(unsafe_code)]

pub mod boot;
pub mod edge;
pub mod frame;
pub mod launcher;
pub mod node;
pub mod sandbox_id;

pub use sandbox_id::SandboxId;
