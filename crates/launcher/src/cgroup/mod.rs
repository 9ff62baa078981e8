//! Control groups, in the layouts v1, v2 and hybrid.

pub(crate) mod group;
pub(crate) mod hierarchies;

pub(crate) use group::Groups;
pub(crate) use hierarchies::Hierarchies;
