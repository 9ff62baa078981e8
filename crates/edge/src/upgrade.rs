//! Connections that have changed to another protocol: bytes both ways until both ends are done.

use crate::activity::InFlight;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::sync::CancellationToken;

/// What one direction reads at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// Joins two connections once both have changed protocol. An end of one direction is passed on
/// while the other goes on; `cut` drops both.
pub(crate) async fn tunnel(
    client: OnUpgrade,
    server: OnUpgrade,
    cut: CancellationToken,
    flight: InFlight,
) {
    let joined = async {
        let (client, server) = match tokio::try_join!(client, server) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::debug!(%error, "an upgrade was not completed");
                return;
            }
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        match copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await {
            Ok((sent, received)) => tracing::debug!(sent, received, "tunnel closed"),
            Err(error) => tracing::debug!(%error, "tunnel broken"),
        }
    };
    tokio::select! {
        () = cut.cancelled() => {}
        () = joined => {}
    }
    drop(flight);
}
