//! Which system calls a sandbox may make: an allow-list, compiled to classic BPF.

mod calls;
mod compile;

use compile::{Action, Argument, Compiler, Test};
use libc::sock_filter;

/// Namespaces must not be made inside: each is a door to kernel code that only root used to reach.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
const NEW_TIME: u32 = 0x80;
/// Randomisation off (debuggers), 32-bit layout off; anything else changes kernel paths.
const PERSONALITIES: [u32; 5] = [0, 0x0004_0000, 0x0002_0000, 0x0002_0008, u32::MAX];
const FAMILIES: [u32; 3] = [
    libc::AF_UNIX as u32,
    libc::AF_INET as u32,
    libc::AF_INET6 as u32,
];
/// Of netlink: routes (to read addresses) and socket diagnostics.
const NETLINKS: [u32; 2] = [libc::NETLINK_ROUTE as u32, libc::NETLINK_SOCK_DIAG as u32];
/// Faking terminal input, and a console's selection.
const TERMINAL_TRICKS: [u32; 2] = [0x5412, 0x541c];

/// The filter has more instructions than fit, or refers to a place too far away.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the seccomp filter is too long")]
pub(crate) struct TooLong;

/// The filter.
///
/// # Errors
/// [`TooLong`]; the tests show that it is not.
pub(crate) fn program() -> Result<Vec<sock_filter>, TooLong> {
    let mut compiler = Compiler::new();
    // glibc then takes clone, whose flags are in a register and can be looked at.
    compiler.always(libc::SYS_clone3, Action::Missing);
    compiler.test(
        libc::SYS_clone,
        Test::no_bits(Argument::Low(0), NAMESPACES, Action::Denied),
    );
    let any = NAMESPACES | NEW_TIME;
    compiler.test(
        libc::SYS_unshare,
        Test::no_bits(Argument::Low(0), any, Action::Denied),
    );
    compiler.test(
        libc::SYS_personality,
        Test::one_of(Argument::Low(0), &PERSONALITIES, Action::Denied),
    );
    compiler.test(
        libc::SYS_ioctl,
        Test::none_of(Argument::Low(1), &TERMINAL_TRICKS, Action::Denied),
    );
    let unsupported = Action::UnsupportedFamily;
    compiler.test(
        libc::SYS_socketpair,
        Test::one_of(Argument::Low(0), &FAMILIES, unsupported),
    );
    compiler.test(
        libc::SYS_socket,
        Test::one_of(Argument::Low(0), &FAMILIES, unsupported).or_when(
            libc::AF_NETLINK as u32,
            Argument::Low(2),
            &NETLINKS,
        ),
    );
    for call in calls::ALLOWED {
        compiler.always(*call, Action::Allowed);
    }
    compiler.finish(calls::LAST_KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use compile::simulate;

    const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    fn call(number: libc::c_long, arguments: [u64; 3]) -> u32 {
        simulate(
            &program().unwrap(),
            compile::ARCHITECTURE,
            number as u32,
            arguments,
        )
    }

    #[test]
    fn ordinary_programs_run() {
        for number in [
            libc::SYS_read,
            libc::SYS_execve,
            libc::SYS_futex,
            libc::SYS_openat2,
        ] {
            assert_eq!(call(number, [0; 3]), ALLOWED, "{number}");
        }
        assert_eq!(call(libc::SYS_clone, [0x3d_0f00, 0, 0]), ALLOWED);
        assert_eq!(
            call(libc::SYS_socket, [libc::AF_INET as u64, 1, 0]),
            ALLOWED
        );
        assert_eq!(
            call(libc::SYS_socket, [libc::AF_NETLINK as u64, 3, 0]),
            ALLOWED
        );
        assert_eq!(call(libc::SYS_ioctl, [0, 0x5401, 0]), ALLOWED);
        assert_eq!(call(libc::SYS_personality, [0xffff_ffff, 0, 0]), ALLOWED);
    }

    #[test]
    fn doors_to_the_kernel_are_shut() {
        for number in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_fsopen,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_quotactl,
            libc::SYS_acct,
        ] {
            assert_eq!(call(number, [0; 3]), DENIED, "{number}");
        }
        let new_user = libc::CLONE_NEWUSER as u64;
        assert_eq!(call(libc::SYS_clone, [new_user | 17, 0, 0]), DENIED);
        assert_eq!(call(libc::SYS_unshare, [new_user, 0, 0]), DENIED);
        assert_eq!(call(libc::SYS_unshare, [0x80, 0, 0]), DENIED);
        assert_eq!(call(libc::SYS_clone3, [0; 3]), MISSING);
        let family = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
        for other in [
            libc::AF_PACKET,
            libc::AF_VSOCK,
            libc::AF_ALG,
            libc::AF_BLUETOOTH,
        ] {
            assert_eq!(
                call(libc::SYS_socket, [other as u64, 3, 0]),
                family,
                "{other}"
            );
        }
        assert_eq!(
            call(libc::SYS_socket, [libc::AF_NETLINK as u64, 3, 12]),
            family
        );
        // The kernel looks at the low half only; so must the filter.
        assert_eq!(call(libc::SYS_ioctl, [0, 0xffff_ffff_0000_5412, 0]), DENIED);
        assert_eq!(call(100_000, [0; 3]), MISSING);
    }

    #[test]
    fn other_architectures_are_killed() {
        let program = program().unwrap();
        let i386 = 0x4000_0003;
        let result = simulate(&program, i386, 1, [0; 3]);
        assert_eq!(result, libc::SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        {
            let x32 = simulate(&program, compile::ARCHITECTURE, 0x4000_0000 | 1, [0; 3]);
            assert_eq!(x32, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
