//! Control groups, in the layouts v1, v2 and hybrid.

mod freezer;
pub(crate) mod group;
pub(crate) mod hierarchies;
mod usage;

pub(crate) use group::Groups;
pub(crate) use hierarchies::Hierarchies;
