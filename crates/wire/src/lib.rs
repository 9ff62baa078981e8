//! What the parts of a node say to each other, and nothing else.
//!
//! No I/O lives here: every parser takes bytes and gives values, so that each can be
//! property-tested and fuzzed. The Python side of the same messages is
//! `src/wardian/server/node/protocol.py` and, beside it, `edge_messages.py` and
//! `egress_messages.py`; `tests/vectors/` holds examples that both sides read.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod boot;
pub mod connect;
pub mod content_coding;
pub mod dns;
pub mod edge;
pub mod egress;
pub mod entity_tag;
pub mod envd;
pub mod file_mode;
pub mod frame;
pub mod gateway;
pub mod git;
pub mod host;
pub mod java_keystore;
pub mod launcher;
pub mod log;
pub mod metadata;
pub mod multipart;
pub mod name;
pub mod node;
pub mod page;
pub mod path_text;
pub mod pem;
pub mod percent;
pub mod preview;
pub mod range;
pub mod sandbox_id;
pub mod service_call;
pub mod session;
pub mod signature;
pub mod tar;
pub mod terminal;
pub mod timestamp;
pub mod tls_hello;
pub mod token;
pub mod vt;
pub mod zstd_frame;

pub use sandbox_id::SandboxId;
