//! Servers that listen on the loopback of their sandbox alone, as most for development do.
//!
//! The sandbox rules its own network: it may send a connection to its loopback anywhere else in
//! there, or let it hang, and no further.

use crate::dial::{self, DialError, BATCH};
use crate::exposures::Exposure;
use crate::launcher_client::{Launcher, LauncherError};
use crate::sandboxes::Sandbox;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::TcpStream;
use wardian_wire::launcher::Family;

/// How long a loopback may take.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Connects where the server was met last, if that was here and still holds.
pub(crate) async fn again(
    launcher: &Launcher,
    sandbox: &Sandbox,
    exposure: &Exposure,
) -> Option<TcpStream> {
    let (family, spare) = exposure.met_inside()?;
    let socket = match spare {
        Some(socket) => socket,
        None => fresh_socket(launcher, sandbox, exposure, family).await?,
    };
    let connected = dial::connect(socket, address(family, exposure.rule.port), CONNECT_TIME).await;
    if connected.is_err() {
        exposure.forget_inside();
    }
    connected.ok()
}

/// Tries 127.0.0.1, then ::1, and remembers which it was.
///
/// # Errors
/// [`DialError`].
pub(crate) async fn connect(
    launcher: &Launcher,
    sandbox: &Sandbox,
    exposure: &Exposure,
) -> Result<TcpStream, DialError> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let opened = launcher.open_inner_sockets(&sandbox.id, family, 1).await;
        let socket = match opened.map(|mut sockets| sockets.pop()) {
            Ok(Some(socket)) => socket,
            Err(LauncherError::NotFound) => return Err(DialError::Gone),
            Err(LauncherError::Absent) => return Err(DialError::NoLauncher),
            // A kernel without IPv6, for one.
            Ok(None) | Err(LauncherError::Refused { .. }) => continue,
        };
        let address = address(family, exposure.rule.port);
        if let Ok(stream) = dial::connect(socket, address, CONNECT_TIME).await {
            exposure.meet_inside(family, Vec::new());
            return Ok(stream);
        }
    }
    Err(DialError::Closed)
}

async fn fresh_socket(
    launcher: &Launcher,
    sandbox: &Sandbox,
    exposure: &Exposure,
    family: Family,
) -> Option<OwnedFd> {
    let opened = launcher.open_inner_sockets(&sandbox.id, family, BATCH);
    let mut sockets = opened.await.ok()?;
    let socket = sockets.pop()?;
    exposure.meet_inside(family, sockets);
    Some(socket)
}

fn address(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::Ipv4 => (Ipv4Addr::LOCALHOST, port).into(),
        Family::Ipv6 => (Ipv6Addr::LOCALHOST, port).into(),
    }
}
