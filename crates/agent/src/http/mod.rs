//! HTTP/1.1: the listening side, bodies, and how calls and answers look.

pub(crate) mod body;
pub(crate) mod native;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod router;
pub(crate) mod server;
pub(crate) mod sse;
