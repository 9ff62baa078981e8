//! Writable layers: `disks/<sandbox>/{upper,work,layers}` on the pool.

pub(crate) mod device;
pub(crate) mod pool;
pub(crate) mod spare;

pub(crate) use pool::Pool;
