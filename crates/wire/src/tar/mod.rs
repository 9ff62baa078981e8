//! Tar archives as a stream: POSIX pax (IEEE 1003.1) is written; pax, ustar and GNU's are read.
//! No archive, and no extension header of unbounded size, is ever held in memory.

pub mod block;
mod extensions;
pub mod member;
pub mod pax;
pub mod reader;
pub mod sparse;
pub mod writer;

/// Archives are made of blocks of this size, in bytes.
pub const BLOCK: usize = 512;

/// The archive is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("a header's checksum is wrong: this is no tar, or it is damaged")]
    Checksum,
    #[error("a number in the header of '{0}' is malformed")]
    Number(String),
    #[error("a pax header is malformed")]
    Pax,
    #[error("an extension header has {0} bytes, above {1}")]
    LongExtension(u64, usize),
    #[error("'{0}' has a name that can't be used: {1}")]
    Name(String, &'static str),
    #[error("'{0}' has a map of its data that makes no sense")]
    Sparse(String),
    #[error("the archive ends in the middle of '{0}'")]
    Cut(String),
}
