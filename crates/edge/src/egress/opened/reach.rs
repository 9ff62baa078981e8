//! A new connection to a server: dialled, inside TLS where the sandbox's was, ready for requests.

use super::body::ToUpstream;
use super::client_tls::Trust;
use super::refusals::Refusal;
use super::upstreams::{Key, Lease, Upstreams};
use crate::driver::{Driver, Written};
use crate::egress::dial::{self, Dialled};
use crate::egress::Egress;
use crate::head_limit::{HeadLimit, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use wardian_wire::egress::event::Reason;
use wardian_wire::egress::matching::CompiledPolicy;

/// What one read takes at most, in bytes.
const BUFFER: usize = 256 * 1024;
const MAX_ANSWER_HEADERS: usize = 100;
/// How much of one HTTP/2 stream, and of all of a connection, may be under way unread, in bytes:
/// enough for 100 ms of way at 160 Mbit/s, and little enough where nobody reads.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const FRAME: u32 = 256 * 1024;
const MAX_HEADER_LIST: u32 = 64 * 1024;

/// Who makes connections, for which sandbox and by which rule.
pub(super) struct Reach<'a> {
    pub(super) egress: &'a Egress,
    pub(super) trust: &'a Trust,
    pub(super) policy: &'a CompiledPolicy,
    pub(super) rule: usize,
    pub(super) pool: &'a Arc<Upstreams>,
    pub(super) cut: &'a CancellationToken,
}

impl Reach<'_> {
    /// Connects. `may_http2`: HTTP/2 is offered.
    ///
    /// # Errors
    /// [`Refusal::Failed`], and the address where one was dialled.
    pub(super) async fn connect(
        &self,
        key: &Key,
        may_http2: bool,
    ) -> Result<Lease, (Refusal, Option<SocketAddr>)> {
        let dialled = dial::connect(self.egress, self.policy, self.rule, &key.to).await;
        let Dialled { stream, address } = dialled.map_err(|failure| {
            let refusal = Refusal::failed(failure.reason, words(failure.reason));
            (refusal, failure.address)
        })?;
        let failed = |refusal| (refusal, Some(address));
        if !key.tls {
            return self.http1(key, address, stream).await.map_err(failed);
        }
        let connected = self.trust.connect(&key.to.host, stream, may_http2).await;
        let connected = connected
            .map_err(|error| failed(Refusal::failed(error.reason(), error.to_string())))?;
        match connected.http2 {
            true => self.http2(key, address, connected.stream).await,
            false => self.http1(key, address, connected.stream).await,
        }
        .map_err(failed)
    }

    async fn http1<S>(&self, key: &Key, address: SocketAddr, stream: S) -> Result<Lease, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = HeadLimit::new();
        let written = Written::default();
        let stream = written.watch(Limited::new(stream, limit.clone()));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake::<_, ToUpstream>(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let cut = self.cut.clone();
        let driver = tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled_owned() => {}
                ended = Driver::new(connection.with_upgrades(), written) => {
                    if let Err(error) = ended {
                        tracing::debug!(%address, %error, "connection to a server ended");
                    }
                }
            }
        });
        Ok(self
            .pool
            .own(key, address, sender, driver.abort_handle(), limit))
    }

    async fn http2<S>(&self, key: &Key, address: SocketAddr, stream: S) -> Result<Lease, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(BUFFER)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake::<_, ToUpstream>(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled_owned() => {}
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%address, %error, "connection to a server ended");
                    }
                }
            }
        });
        Ok(self.pool.share(key, address, sender))
    }
}

/// The refusal for a server that broke off or spoke no HTTP.
pub(super) fn broken(error: &hyper::Error) -> Refusal {
    let message = if error.is_parse() {
        format!("the server's answer is no HTTP: {error}")
    } else {
        format!("the server broke off before it answered: {error}")
    };
    Refusal::failed(Reason::Upstream, message)
}

/// What a failure to dial means, for people.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Unresolved => "the name does not exist or could not be resolved",
        Reason::PrivateAddress => "its address is not public, and no rule grants it",
        Reason::Timeout => "connecting took longer than 10 s",
        _ => "the server did not accept the connection",
    }
}
