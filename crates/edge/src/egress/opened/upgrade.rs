//! WebSockets: bytes both ways until both ends are done.

use super::account::Account;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::{copy_bidirectional_with_sizes, AsyncRead, AsyncWrite};
use tokio_util::io::{InspectReader, InspectWriter};

/// What one direction reads at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// Joins a sandbox and a server once both have changed protocol, and counts what goes by.
pub(super) async fn tunnel(client: OnUpgrade, server: OnUpgrade, account: Arc<Account>) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(ends) => ends,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was not completed");
            return;
        }
    };
    let mut client = counted(TokioIo::new(client), &account);
    let mut server = TokioIo::new(server);
    let joined = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER);
    if let Err(error) = joined.await {
        tracing::debug!(%error, "tunnel broken");
    }
}

/// The sandbox's end: what is read there it has sent.
fn counted<S>(stream: S, account: &Arc<Account>) -> impl AsyncRead + AsyncWrite + Unpin
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sent, received) = (Arc::clone(account), Arc::clone(account));
    let reader = InspectReader::new(stream, move |bytes: &[u8]| sent.sent(bytes.len()));
    InspectWriter::new(reader, move |bytes: &[u8]| received.received(bytes.len()))
}
