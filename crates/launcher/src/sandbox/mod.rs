//! Sandboxes from birth to removal.

pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod registry;
#[cfg(test)]
mod tests;
pub(crate) mod wires;

pub(crate) use registry::Registry;
