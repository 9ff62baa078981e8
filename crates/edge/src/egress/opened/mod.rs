//! Connections that are looked into: the sandbox's TLS ends here, each request is checked and
//! decided by itself, and what is let out goes over connections of the edge's own.

mod account;
mod authority;
mod body;
mod checks;
mod client_tls;
mod counted;
mod exchange;
mod forward;
mod http;
mod identity;
mod kept;
mod leaf;
mod reach;
mod refusals;
mod requests;
mod server_tls;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstreams;

pub(crate) use kept::Opened;

use super::first_bytes::First;
use super::flow::Flow;
use super::Egress;
use counted::Counted;
use requests::Conversation;
use server_tls::AcceptError;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use wardian_wire::egress::event::{Kind, Reason, Verdict};

/// Speaks to the sandbox as the server that it dialled, and decides each request, until either side
/// has ended. `stream` begins with the bytes by which `first` was found.
pub(crate) async fn serve<S>(egress: Arc<Egress>, flow: Flow, stream: S, first: First)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (cut, stop) = (flow.sandbox.cut.clone(), egress.stop.clone());
    tokio::select! {
        () = cut.cancelled() => {}
        () = stop.cancelled() => {}
        () = meet(egress, flow, stream, first) => {}
    }
}

async fn meet<S>(egress: Arc<Egress>, flow: Flow, stream: S, first: First)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Counted::new(stream, Arc::clone(&egress), Arc::clone(&flow.sandbox));
    let conversation = |tls| Conversation::new(Arc::clone(&egress), flow.clone(), tls);
    match first {
        First::Http1 => http::serve1(conversation(false), stream).await,
        First::Http2 => http::serve2(conversation(false), stream).await,
        // Nothing that is neither of these is given here.
        First::Other => {}
        First::Tls(_) => {
            let identity = egress.identity();
            let leaves = identity.as_ref().and_then(|own| own.leaves.as_ref());
            let accepted = match leaves {
                Some(leaves) => server_tls::accept(leaves, &flow.destination.host, stream).await,
                None => Err(AcceptError::NoLeaf),
            };
            match accepted {
                Ok(accepted) if accepted.http2 => {
                    http::serve2(conversation(true), accepted.stream).await;
                }
                Ok(accepted) => http::serve1(conversation(true), accepted.stream).await,
                Err(error) => not_opened(&egress, &flow, &error),
            }
        }
    }
}

/// Tells of a connection whose TLS came to nothing.
fn not_opened(egress: &Egress, flow: &Flow, error: &AcceptError) {
    tracing::debug!(to = %flow.destination, %error, "a connection could not be opened");
    let (verdict, reason) = match error {
        AcceptError::OtherName => (Verdict::Denied, Reason::SniMismatch),
        AcceptError::Timeout => (Verdict::Failed, Reason::Timeout),
        AcceptError::NoLeaf | AcceptError::Handshake(_) => (Verdict::Failed, Reason::Certificate),
    };
    let mut event = flow.event(Kind::Connection, verdict, flow.started);
    event.reason = Some(reason);
    egress.record.tell(event);
}
