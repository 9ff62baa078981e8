//! Order and undoing, on a kernel that fails at each of its calls in turn.

use super::record::Records;
use super::registry::{Parts, Registry};
use super::wires::Wires;
use crate::cgroup::{Groups, Hierarchies};
use crate::disk::Pool;
use crate::kernel::fake::Fake;
use crate::kernel::Kernel;
use crate::parked::pool::ParkedPool;
use crate::slots::Slots;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wardian_wire::boot::Boot;
use wardian_wire::launcher::{
    Create, EndReason, FailureCode, Family, LayerId, Limits, SandboxState,
};
use wardian_wire::node::PoolKind;
use wardian_wire::SandboxId;

const ID: &str = "aaaaaaaaaaaaaaaaaaaa";

fn layer() -> LayerId {
    LayerId::parse(&"0".repeat(64)).unwrap()
}

/// A launcher on `fake`, as one that has just been started.
fn registry(fake: &Arc<Fake>, kind: PoolKind, boot_id: &str) -> Registry {
    let kernel: Arc<dyn Kernel> = Arc::clone(fake) as _;
    let mounts =
        "1 1 0:1 / /cg/memory rw - cgroup c rw,memory\n2 1 0:2 / /cg/pids rw - cgroup c rw,pids\n\
        3 1 0:3 / /cg/cpu rw - cgroup c rw,cpu\n4 1 0:4 / /cg/blkio rw - cgroup c rw,blkio\n\
        5 1 0:5 / /cg/unified rw - cgroup2 c rw\n";
    let hierarchies = Hierarchies::detect(mounts, |_| String::new()).unwrap();
    let groups = Groups::new(Arc::clone(&kernel), hierarchies, "00000000");
    let disks = Arc::new(Pool::new(Arc::clone(&kernel), "/pool".into(), kind));
    let slots = Arc::new(Slots::new(100_000, 10).unwrap());
    let parked = ParkedPool::new(
        Arc::clone(&kernel),
        groups.clone(),
        Arc::clone(&disks),
        Arc::clone(&slots),
        0,
    );
    let parts = Parts {
        records: Records::new(Arc::clone(&kernel), "/run/sandboxes".into()),
        wires: Wires::new(Arc::clone(&kernel), "/run/wires".into()),
        boot_id: boot_id.to_owned(),
        io_device: Ok("7:0".to_owned()),
        parked: Arc::new(parked),
        kernel,
        groups,
        disks,
        slots,
    };
    Registry::new(parts, None)
}

fn fake() -> Arc<Fake> {
    let fake = Arc::new(Fake::default());
    let layer: PathBuf = Path::new("/pool/layers").join(layer().as_str());
    fake.create_dir(&layer, 0).unwrap();
    fake.take_calls();
    fake
}

fn request() -> Create {
    let sandbox = SandboxId::parse(ID).unwrap();
    Create {
        sandbox: sandbox.clone(),
        layers: vec![layer()],
        limits: Limits {
            memory_bytes: 64 << 20,
            pids: 64,
            cpu_millis: 1500,
            disk_bytes: 64 << 20,
            io_bytes_per_second: Some(1 << 20),
        },
        boot: Boot {
            sandbox,
            access_token: None,
            hostname: "inside".to_owned(),
            default_user: "root".to_owned(),
            default_workdir: None,
            env: Default::default(),
            trust: String::new(),
            memory_bytes: 64 << 20,
            cpu_millis: 1500,
            disk_bytes: 64 << 20,
        },
    }
}

#[test]
fn whatever_fails_nothing_is_left_and_the_next_create_works() {
    for kind in [PoolKind::Btrfs, PoolKind::Plain] {
        let mut failures = 0;
        for number in 0.. {
            let fake = fake();
            let before = fake.world();
            let registry = registry(&fake, kind, "boot");
            fake.fail_at(Some(number));
            let result = registry.create(&request());
            if !fake.failed() {
                // Fewer calls than this: all have had their turn.
                result.unwrap();
                break;
            }
            failures += 1;
            let failure = result.unwrap_err();
            assert_eq!(failure.code, FailureCode::Kernel);
            assert_eq!(fake.world(), before, "after {}", failure.message);
            assert!(registry.list().unwrap().is_empty());
            registry.create(&request()).unwrap();
        }
        assert!(failures > 15, "only {failures} calls were tried");
    }
}

#[test]
fn a_kill_leaves_what_was_there_before() {
    let fake = fake();
    let before = fake.world();
    let registry = registry(&fake, PoolKind::Btrfs, "boot");
    let id = request().sandbox;
    registry.create(&request()).unwrap();
    fake.take_calls();
    let (existed, usage) = registry.kill(&id).unwrap();
    assert!(existed && usage.unwrap().disk_bytes == 7);
    assert_eq!(fake.world(), before);
    let calls = fake.take_calls();
    let at = |what: &str| calls.iter().position(|call| call.contains(what)).unwrap();
    // Processes before what they use; the disk before the record that tells of it.
    assert!(at("kill group") < at("unbind") && at("kill group") < at("rmdir"));
    assert!(at("kill group") < at("remove /pool") && at("remove /pool") < at("unlink"));
    assert_eq!(registry.kill(&id).unwrap(), (false, None));
}

/// A launcher that stopped for ever after any of its calls; another goes on.
#[test]
fn after_a_crash_at_any_call_a_sandbox_is_whole_or_gone() {
    for number in 0..40 {
        let fake = fake();
        let before = fake.world();
        let first = registry(&fake, PoolKind::Btrfs, "boot");
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            fake.crash_at(number);
            first.create(&request())
        }));
        fake.crash_at(usize::MAX);
        let second = registry(&fake, PoolKind::Btrfs, "boot");
        // What a parked process notices by the end of its socket.
        if crash.is_err() {
            fake.end_parked();
        }
        second.parts().disks.remove_all_spares().unwrap();
        second.recover().unwrap();
        let list = second.list().unwrap();
        match list.as_slice() {
            [] => assert_eq!(fake.world(), before, "crash at {number}"),
            [status] => assert!(status.state == SandboxState::Running, "crash at {number}"),
            _ => panic!("{list:?}"),
        }
        second.kill(&request().sandbox).unwrap();
        assert_eq!(fake.world(), before, "crash at {number}");
    }
}

#[test]
fn after_a_reboot_a_disk_is_kept_until_killed() {
    for keep_record in [true, false] {
        let fake = fake();
        let before = fake.world();
        let first = registry(&fake, PoolKind::Btrfs, "boot");
        let pid = first.create(&request()).unwrap();
        fake.reboot(pid, keep_record);
        let second = registry(&fake, PoolKind::Btrfs, "another boot");
        second.recover().unwrap();
        let reason = EndReason::NodeRestarted;
        assert_eq!(
            second.list().unwrap()[0].state,
            SandboxState::Ended { reason }
        );
        let in_use = second.while_unused(&layer(), || Ok(())).unwrap_err();
        assert_eq!(in_use.code, FailureCode::InUse);
        second.kill(&request().sandbox).unwrap();
        assert_eq!(fake.world(), before);
    }
}

#[test]
fn sockets_inside_are_asked_for_beside_its_agent_and_only_while_it_runs() {
    let fake = fake();
    let registry = registry(&fake, PoolKind::Plain, "boot");
    let sandbox = request().sandbox;
    let open = || registry.sockets_inside(&sandbox, Family::Ipv6, 2);
    assert_eq!(open().unwrap_err().code, FailureCode::NotFound);
    let pid = registry.create(&request()).unwrap();
    fake.take_calls();
    assert_eq!(open().unwrap().len(), 2);
    assert_eq!(fake.take_calls(), [format!("sockets beside Ipv6 {pid}")]);
    fake.fail_at(Some(0));
    assert_eq!(open().unwrap_err().code, FailureCode::Kernel);
    registry.kill(&sandbox).unwrap();
    assert_eq!(open().unwrap_err().code, FailureCode::NotFound);
}

#[test]
fn outbound_sockets_are_made_once_and_end_with_the_sandbox() {
    let fake = fake();
    let before = fake.world();
    let registry = registry(&fake, PoolKind::Plain, "boot");
    let sandbox = request().sandbox;
    let open = || registry.outbound(&sandbox);
    assert_eq!(open().unwrap_err().code, FailureCode::NotFound);
    registry.create(&request()).unwrap();
    let (made, copied) = (format!("open outbound /run/wires/{ID}"), "duplicate 3");
    // Whichever call fails, the next to ask gets them.
    fake.fail_at(Some(0));
    assert_eq!(open().unwrap_err().code, FailureCode::Kernel);
    fake.fail_at(Some(1));
    assert_eq!(open().unwrap_err().code, FailureCode::Kernel);
    assert_eq!(fake.take_calls(), [made.as_str(), copied]);
    assert_eq!(open().unwrap().len(), 3);
    assert_eq!(open().unwrap().len(), 3);
    assert_eq!(fake.take_calls(), [copied, copied]);
    registry.kill(&sandbox).unwrap();
    assert_eq!(open().unwrap_err().code, FailureCode::NotFound);
    assert_eq!(fake.world(), before);
}

#[test]
fn an_adopted_sandbox_gets_outbound_sockets_anew() {
    let fake = fake();
    let first = registry(&fake, PoolKind::Plain, "boot");
    let sandbox = request().sandbox;
    first.create(&request()).unwrap();
    first.outbound(&sandbox).unwrap();
    let second = registry(&fake, PoolKind::Plain, "boot");
    second.recover().unwrap();
    fake.take_calls();
    assert_eq!(second.outbound(&sandbox).unwrap().len(), 3);
    let made = format!("open outbound /run/wires/{ID}");
    assert_eq!(fake.take_calls(), [made.as_str(), "duplicate 3"]);
}
