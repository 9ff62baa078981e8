//! Layers: read-only file trees that sandboxes start from.

mod entry;
mod store;
mod tree;
