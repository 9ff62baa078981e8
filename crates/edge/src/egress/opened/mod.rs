//! Connections that are looked into.

use super::first_bytes::First;
use super::flow::Flow;
use super::Egress;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use wardian_wire::egress::event::{Kind, Reason, Verdict};

/// Speaks to the sandbox as the server that it dialled, and decides each request, until either side
/// has ended. `stream` begins with the bytes by which `first` was found.
pub(crate) async fn serve<S>(egress: Arc<Egress>, flow: Flow, stream: S, first: First)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Nothing passes unseen.
    drop((stream, first));
    let mut event = flow.event(Kind::Connection, Verdict::Failed, flow.started);
    event.reason = Some(Reason::Upstream);
    egress.record.tell(event);
}
