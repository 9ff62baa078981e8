//! Opened connections between a sandbox's clients and servers, over real sockets and real TLS.

mod flows;
mod http;
mod tls;
mod world;
