//! The sockets through which sandboxes reach the edge, and what arrives at each.

use super::flow::{self, Flow};
use super::names::is_synthetic;
use super::{dns, packets, Egress};
use crate::launcher_client::LauncherError;
use crate::sandboxes::Sandbox;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use wardian_wire::egress::destination::{Destination, Host};
use wardian_wire::egress::event::Reason;

/// How long a change waits for them: the control plane has no more patience than 2 s.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a sandbox that may reach nothing waits: so a burst of new ones is over first.
const NO_HURRY: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// After an error of the listener, as when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(50);
/// The edge's own address at the end of each wire.
const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 53);

struct Sockets {
    listener: TcpListener,
    resolver: UdpSocket,
    packets: AsyncFd<OwnedFd>,
}

impl Egress {
    /// Listens to a sandbox from now on, if it does not yet. Returns once it does, or when that
    /// takes too long and goes on behind; at once where nothing is let out.
    pub(crate) async fn listen(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        let outlet = &sandbox.outlet;
        if !outlet.asked.swap(true, Ordering::AcqRel) {
            let (egress, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
            self.tasks.spawn(async move {
                tokio::select! {
                    () = sandbox.cut.cancelled() => {}
                    () = egress.stop.cancelled() => {}
                    () = egress.attend(&sandbox) => {}
                }
            });
        }
        if !outlet.policy().rules().is_empty() {
            outlet.hurry.notify_one();
            // Whoever waits longer finds the sockets there later.
            let _ = timeout(PATIENCE, outlet.listens.cancelled()).await;
        }
    }

    async fn attend(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        let _ = timeout(NO_HURRY, sandbox.outlet.hurry.notified()).await;
        let Some(sockets) = self.sockets(sandbox).await else {
            return;
        };
        sandbox.outlet.listens.cancel();
        tokio::join!(
            self.accept(sandbox, &sockets.listener),
            dns::serve(self, sandbox, &sockets.resolver),
            packets::watch(self, sandbox, &sockets.packets),
        );
    }

    /// Asks until there is an answer; `None` where the edge ends. Whoever calls it gives up with
    /// the route.
    async fn sockets(&self, sandbox: &Sandbox) -> Option<Sockets> {
        let mut pause = FIRST_RETRY;
        loop {
            let turn = self.opening.acquire().await.ok()?;
            let asked = self.launcher.open_outbound(&sandbox.id).await;
            drop(turn);
            match asked.map(registered) {
                Ok(Ok(sockets)) => return Some(sockets),
                Ok(Err(error)) => {
                    tracing::error!(sandbox = %sandbox.id, %error, "outbound sockets are of no use")
                }
                // A new one is told to the edge while the launcher makes it.
                Err(LauncherError::NotFound) => {
                    tracing::debug!(sandbox = %sandbox.id, "the launcher has no such sandbox yet")
                }
                Err(error) => {
                    tracing::warn!(sandbox = %sandbox.id, %error, "no outbound sockets yet")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    async fn accept(self: &Arc<Self>, sandbox: &Arc<Sandbox>, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.begin(sandbox, stream),
                Err(error) => {
                    tracing::warn!(sandbox = %sandbox.id, %error, "can't take a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, sandbox: &Arc<Sandbox>, stream: TcpStream) {
        // The peer may have left already; then there is nobody to answer.
        let Ok(SocketAddr::V4(dialled)) = stream.local_addr() else {
            return;
        };
        let (egress, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        let Ok(turn) = Arc::clone(&sandbox.outlet.flows).try_acquire_owned() else {
            let flow = Flow::new(sandbox, plainly(dialled));
            flow::refuse_connection(&egress, &flow, stream, None, Reason::TooMany);
            return;
        };
        self.tasks.spawn(async move {
            let _turn = turn;
            tokio::select! {
                () = sandbox.cut.cancelled() => {}
                () = egress.stop.cancelled() => {}
                () = egress.pass(&sandbox, stream, dialled) => {}
            }
        });
    }

    async fn pass(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        stream: TcpStream,
        dialled: SocketAddrV4,
    ) {
        if dialled == RESOLVER {
            return dns::serve_stream(self, sandbox, stream).await;
        }
        let destination = if is_synthetic(*dialled.ip()) {
            let Some(name) = sandbox.outlet.names.name(*dialled.ip()) else {
                let flow = Flow::new(Arc::clone(sandbox), plainly(dialled));
                flow::refuse_connection(self, &flow, stream, None, Reason::UnknownAddress);
                return;
            };
            Destination::name(name, dialled.port())
        } else {
            plainly(dialled)
        };
        let flow = Flow::new(Arc::clone(sandbox), destination);
        // Its state is large, and most connections wait most of the time.
        Box::pin(flow::run(Arc::clone(self), flow, stream)).await;
    }
}

fn plainly(dialled: SocketAddrV4) -> Destination {
    Destination {
        host: Host::Address((*dialled.ip()).into()),
        port: dialled.port(),
    }
}

// Its successor is unsafe, for types that may not keep their descriptor; an `OwnedFd` does.
#[allow(deprecated)]
fn registered([listener, resolver, packets]: [OwnedFd; 3]) -> io::Result<Sockets> {
    Ok(Sockets {
        listener: TcpListener::from_std(listener.into())?,
        resolver: UdpSocket::from_std(resolver.into())?,
        packets: AsyncFd::new(packets)?,
    })
}
