//! Terminals that clients attach to and detach from: `/v1/terminals`.
//!
//! ```text
//! program ──PTY──► pump ──► output: the last 256 KiB ──► client 1 at byte n
//!    ▲                                              └──► client 2 at byte m
//!    └──PTY── one writer ◄── keys of all clients, in order
//! ```
//! A client is a place in the output, not a queue of its own: however many there are and however
//! slow, a terminal holds its output once. One whose place is no longer kept is sent what is,
//! behind what makes it a picture of its own (`wardian_wire::vt`).

mod client;
mod command;
mod ending;
mod handshake;
mod output;
mod registry;
pub(crate) mod service;
mod terminal;

pub(crate) use registry::Registry;
