//! What a sandbox may reach, and what is told of what it did reach.

pub mod event;
pub mod policy;
