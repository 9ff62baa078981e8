//! What a sandbox may reach, and what is told of what it did reach.

pub mod cidr;
pub mod compiled;
pub mod destination;
pub mod event;
pub mod explain;
pub mod handler_frame;
pub mod host_pattern;
pub mod hostname;
pub mod matching;
pub mod path_pattern;
pub mod policy;
pub mod public;
