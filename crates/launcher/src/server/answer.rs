//! Requests to what carries them out.

use crate::failure::{from_kernel, invalid};
use crate::sandbox::Registry;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use wardian_wire::launcher::{Event, Failure, Hello, Request, Value, MAX_SOCKETS, VERSION};
use wardian_wire::node::PoolKind;

/// What goes back.
pub(super) enum Answer {
    Value(Value),
    Sockets(Vec<OwnedFd>),
    Events(Receiver<Event>),
}

/// Carries out a request; `fd` came with it.
pub(super) fn answer(
    registry: &Registry,
    request: Request,
    fd: Option<OwnedFd>,
) -> Result<Answer, Failure> {
    let disks = &registry.parts().disks;
    let value = match request {
        Request::Hello { version } => hello(registry, version)?,
        Request::Create(create) => Value::Created {
            pid: registry.create(&create)?,
        },
        Request::Kill { sandbox } => {
            let (existed, usage) = registry.kill(&sandbox)?;
            Value::Killed { existed, usage }
        }
        Request::List {} => Value::Sandboxes {
            sandboxes: registry.list()?,
        },
        Request::Usage { sandbox } => Value::Usage(registry.usage(&sandbox)?),
        Request::Freeze { sandbox } => registry.freeze(&sandbox).map(|()| Value::Done {})?,
        Request::Thaw { sandbox } => registry.thaw(&sandbox).map(|()| Value::Done {})?,
        Request::OpenSockets { sandbox, count } => {
            let count = checked(count)?;
            return registry.sockets(&sandbox, count).map(Answer::Sockets);
        }
        Request::OpenInnerSockets {
            sandbox,
            family,
            count,
        } => {
            let count = checked(count)?;
            let sockets = registry.sockets_inside(&sandbox, family, count);
            return sockets.map(Answer::Sockets);
        }
        Request::OpenOutbound { sandbox } => {
            return registry.outbound(&sandbox).map(Answer::Sockets)
        }
        Request::ImportLayer { layer } => {
            let source = fd.ok_or_else(|| invalid("no descriptor came"))?;
            let (imported, existed) = disks.import_layer(&layer, source)?;
            Value::Layer {
                layer,
                bytes: imported.bytes,
                files: imported.files,
                existed,
            }
        }
        Request::RemoveLayer { layer } => {
            let removed = registry.while_unused(&layer, || disks.take_layer_out(&layer))?;
            disks.remove(&removed).map_err(|e| from_kernel(&e))?;
            Value::Done {}
        }
        Request::ListLayers {} => Value::Layers {
            layers: disks.list_layers().map_err(|e| from_kernel(&e))?,
        },
        Request::Watch {} => return Ok(Answer::Events(registry.watch())),
    };
    Ok(Answer::Value(value))
}

fn checked(count: u32) -> Result<u32, Failure> {
    match count {
        1..=MAX_SOCKETS => Ok(count),
        _ => Err(invalid(format!("count is {count}, not 1 to {MAX_SOCKETS}"))),
    }
}

fn hello(registry: &Registry, version: u32) -> Result<Value, Failure> {
    if version != VERSION {
        return Err(invalid(format!(
            "version is {version}, this launcher speaks {VERSION}"
        )));
    }
    let parts = registry.parts();
    let (pool_bytes_total, pool_bytes_free) = parts.disks.space().map_err(|e| from_kernel(&e))?;
    let storage = match parts.disks.kind {
        PoolKind::Btrfs => "btrfs",
        PoolKind::Plain => "plain",
    };
    Ok(Value::Hello(Hello {
        version: VERSION,
        cgroups: parts.groups.layout().to_owned(),
        storage: storage.to_owned(),
        disk_limits: parts.disks.has_limits(),
        pool_bytes_total,
        pool_bytes_free,
    }))
}
