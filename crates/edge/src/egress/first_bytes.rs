//! What a connection begins with, before anything of it passes.

use wardian_wire::tls_hello::ClientHello;

/// How a connection that is to be opened begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// SNI and ECH of it are in order.
    Tls(ClientHello),
    Http1,
    /// With the preface of HTTP/2, in the clear.
    Http2,
}
