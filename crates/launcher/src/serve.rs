//! `wardian-launcher serve`: from the configuration to a running launcher, and back.

use crate::cgroup::{hierarchies::LayoutError, Groups, Hierarchies};
use crate::death_watch::DeathWatch;
use crate::disk::{device, Pool};
use crate::kernel::{host::Host, raw, Kernel, KernelError};
use crate::parked::pool::ParkedPool;
use crate::sandbox::record::Records;
use crate::sandbox::registry::Parts;
use crate::sandbox::{wires::Wires, Registry};
use crate::server::{Peers, Server};
use crate::slots::Slots;
use rustix::fs::{flock, FlockOperation};
use rustix::mount::{mount_bind, mount_change, unmount, MountPropagationFlags, UnmountFlags};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wardian_wire::node::Node;

/// How often quota groups of removed disks are looked after.
const SWEEP: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
const LOCK_ATTEMPTS: u32 = 400;
const MOST_PARKED: u32 = 256;
/// Each sandbox takes half a dozen.
const MOST_FILES: u64 = 1_048_576;
/// How long the last sandboxes' file systems may take to be unmounted: each writes back all of the
/// pool.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the launcher can't serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path}: {problem}")]
    Configuration { path: String, problem: String },
    #[error("another launcher serves {0}")]
    AlreadyServed(String),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ServeError + '_ {
    move |source| ServeError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Serves the node of `config` until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`] if the node can't be brought up or its socket can't be listened on.
pub(crate) fn run(config: &Path) -> Result<(), ServeError> {
    raw::set_undumpable().map_err(|e| KernelError::new("prctl", "the launcher", e))?;
    raw::limit_resource(libc::RLIMIT_NOFILE, MOST_FILES, u64::MAX)
        .map_err(|e| KernelError::new("limit open files of", "the launcher", e))?;
    let node = read(config)?;
    let state = node.run.join("launcher");
    let records = state.join("sandboxes");
    let wires = state.join("wires");
    for directory in [&state, &records, &wires] {
        make_private(directory)?;
    }
    let _lock = lock(&state)?;
    own_mount(&wires)?;
    let registry = build(&node, records, &wires)?;
    registry.recover()?;
    let server = Server::bind(
        &node.run.join("launcher.sock"),
        node.gid,
        Peers {
            control: node.control_uid,
            edge: node.edge_uid,
        },
    )?;
    start_threads(&registry);
    tracing::info!(socket = %server.path().display(), "serving");
    let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]);
    let mut signals = signals.map_err(file(config))?;
    let serving = Arc::new(server);
    let (accepting, answering) = (Arc::clone(&serving), Arc::clone(&registry));
    std::thread::spawn(move || accepting.run(&answering));
    signals.forever().next();
    serving.stop();
    stop(&node, &registry, &wires)
}

fn read(config: &Path) -> Result<Node, ServeError> {
    let text = std::fs::read(config).map_err(file(config))?;
    let wrong = |problem: String| ServeError::Configuration {
        path: config.display().to_string(),
        problem,
    };
    let node: Node = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if node.instance.len() != 8 || !node.instance.bytes().all(hex) {
        return Err(wrong("instance is not 8 hexadecimal digits".to_owned()));
    }
    for (name, path) in [
        ("home", &node.home),
        ("run", &node.run),
        ("pool.path", &node.pool.path),
    ] {
        if !path.is_absolute() {
            return Err(wrong(format!("{name} is not an absolute path")));
        }
    }
    if node.parked > MOST_PARKED {
        return Err(wrong(format!("parked is above {MOST_PARKED}")));
    }
    Ok(node)
}

fn make_private(directory: &Path) -> Result<(), ServeError> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(file(directory)),
    }
}

fn lock(state: &Path) -> Result<std::fs::File, ServeError> {
    let path = state.join("lock");
    let mut options = std::fs::OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let opened = opened.map_err(file(&path))?;
    // A helper that a killed launcher was just starting holds its lock for a moment more.
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(opened),
            Err(_) => std::thread::sleep(LOCK_PAUSE),
        }
    }
    Err(ServeError::AlreadyServed(state.display().to_string()))
}

/// Makes `directory` a mount of its own that shares nothing with other mount namespaces: a wire's
/// name must not live on in them after it was given up here.
fn own_mount(directory: &Path) -> Result<(), ServeError> {
    if device::mounted(directory)?.is_none() {
        let on = |call| move |e| KernelError::new(call, directory.display().to_string(), e);
        mount_bind(directory, directory).map_err(on("bind"))?;
        mount_change(directory, MountPropagationFlags::PRIVATE).map_err(on("make private"))?;
    }
    Ok(())
}

fn build(node: &Node, records: PathBuf, wires: &Path) -> Result<Arc<Registry>, ServeError> {
    let kernel: Arc<dyn Kernel> = Arc::new(Host::new(node.binaries.agent.clone()));
    let hierarchies = Hierarchies::of_this_machine()?;
    let groups = Groups::new(Arc::clone(&kernel), hierarchies, &node.instance);
    groups.prepare()?;
    let disks = Arc::new(Pool::open(Arc::clone(&kernel), &node.pool)?);
    let slots =
        Slots::new(node.uid_base, node.uid_slots).ok_or_else(|| ServeError::Configuration {
            path: "node.json".to_owned(),
            problem: "uid_base and uid_slots do not fit into the uids there are".to_owned(),
        })?;
    let slots = Arc::new(slots);
    let wires = Wires::new(Arc::clone(&kernel), wires.to_owned());
    let parked = ParkedPool::new(
        Arc::clone(&kernel),
        groups.clone(),
        Arc::clone(&disks),
        Arc::clone(&slots),
        node.parked as usize,
    );
    let boot_id_file = Path::new("/proc/sys/kernel/random/boot_id");
    let boot_id = std::fs::read_to_string(boot_id_file).map_err(file(boot_id_file))?;
    let parts = Parts {
        records: Records::new(Arc::clone(&kernel), records),
        boot_id: boot_id.trim().to_owned(),
        io_device: device::backing(&node.pool.path).map_err(|e| e.to_string()),
        parked: Arc::new(parked),
        kernel,
        groups,
        disks,
        slots,
        wires,
    };
    Ok(Arc::new(Registry::new(
        parts,
        Some(Arc::new(DeathWatch::new()?)),
    )))
}

/// What goes on beside the requests. None of these holds anything that must be saved at the end.
fn start_threads(registry: &Arc<Registry>) {
    let parked = Arc::clone(&registry.parts().parked);
    std::thread::spawn(move || parked.fill());
    let ended = Arc::clone(registry);
    std::thread::spawn(move || ended.unmount_roots());
    let watched = Arc::clone(registry);
    std::thread::spawn(move || {
        if let Err(error) = watched.watch_deaths() {
            // Without it ends go unnoticed: better to be started anew.
            tracing::error!(%error, "can't watch for ends");
            std::process::exit(1);
        }
    });
    let disks = Arc::clone(&registry.parts().disks);
    std::thread::spawn(move || loop {
        std::thread::sleep(SWEEP);
        disks.sweep_groups();
    });
}

/// Leaves nothing behind if no sandbox is left; else leaves all for the next launcher.
fn stop(node: &Node, registry: &Registry, wires: &Path) -> Result<(), ServeError> {
    registry.parts().parked.close();
    if !registry.is_empty() {
        tracing::info!("stopped; sandboxes live on");
        return Ok(());
    }
    if !registry.wait_unmounted(PATIENCE) {
        tracing::warn!("roots of ended sandboxes are still being unmounted");
    }
    registry.parts().disks.sweep_groups();
    registry.parts().groups.remove_parents()?;
    unmount(wires, UnmountFlags::DETACH)
        .map_err(|e| KernelError::new("unmount", wires.display().to_string(), e))?;
    for directory in ["wires", "sandboxes"] {
        let path = node.run.join("launcher").join(directory);
        registry.parts().kernel.remove_dir(&path)?;
    }
    Pool::close(&node.pool)?;
    tracing::info!("stopped; nothing is left");
    Ok(())
}
