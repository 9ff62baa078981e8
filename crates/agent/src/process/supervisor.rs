//! The supervisor: parent and subreaper of one command. It starts the command, reports how it
//! ended, passes signals on, and kills the whole tree when told to, or when the agent is gone.
//! It stays until the last descendant has ended. Forked by the spawner, single-threaded.

use super::job::{Job, Order, Report, Stage, ORDER};
use super::tree;
use crate::sys::{self, Forked};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::{AsFd, IntoRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    getpid, kill_process, set_child_subreaper, setrlimit, wait, Pid, Resource, Rlimit, Signal,
    WaitOptions, WaitStatus,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How much likelier than the agent a command is chosen when memory runs out.
const OOM_SCORE_ADJ: &str = "300";
/// How many descriptors a command may open before it raises its own limit.
const OPEN_FILES: u64 = 65_536;

/// A step that failed, and why.
struct Failed(Stage, Errno);

/// Runs the job that arrives on `control`, with `stdio` as its standard input, output and
/// error (or one terminal as all three), then what else it has open.
pub(crate) fn run(control: OwnedFd, stdio: Vec<OwnedFd>) -> ! {
    let outcome = start(&control, stdio);
    let code = match outcome {
        Ok((child, signals, usage)) => {
            let pid = child.as_raw_nonzero().get() as u32;
            report(&control, Report::Started { pid });
            let mut tree = Tree {
                control,
                main: Some(child),
                usage,
            };
            tree.watch(&signals);
            0
        }
        Err(Failed(stage, errno)) => {
            let errno = errno.raw_os_error();
            report(&control, Report::Failed { stage, errno });
            1
        }
    };
    sys::exit_now(code)
}

/// Fails only when the agent is gone, which `watch` sees too.
fn report(control: &OwnedFd, report: Report) {
    let _ = rustix::io::write(control, &report.encode());
}

fn start(control: &OwnedFd, stdio: Vec<OwnedFd>) -> Result<(Pid, OwnedFd, bool), Failed> {
    let on = |stage| move |errno| Failed(stage, errno);
    sys::wait_for_children();
    let signals = sys::child_signals().map_err(on(Stage::Fork))?;
    set_child_subreaper(Some(getpid())).map_err(on(Stage::Fork))?;
    let job = receive(control).map_err(on(Stage::Job))?;
    let (failures, sink) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(on(Stage::Fork))?;
    match sys::fork().map_err(on(Stage::Fork))? {
        Forked::Child => {
            let Failed(stage, errno) = become_command(&job, &stdio);
            let errno = errno.raw_os_error();
            let _ = rustix::io::write(&sink, &Report::Failed { stage, errno }.encode());
            sys::exit_now(127)
        }
        Forked::Parent { child } => {
            drop((sink, stdio));
            let mut bytes = [0; super::job::REPORT];
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&failures, &mut bytes));
            // exec closes the pipe: nothing to read means the command runs.
            match read
                .ok()
                .filter(|&n| n == bytes.len())
                .and(Report::decode(bytes))
            {
                Some(Report::Failed { stage, errno }) => {
                    Err(Failed(stage, Errno::from_raw_os_error(errno)))
                }
                _ => Pid::from_raw(child)
                    .map(|child| (child, signals, job.usage))
                    .ok_or(Failed(Stage::Fork, Errno::SRCH)),
            }
        }
    }
}

fn receive(control: &OwnedFd) -> Result<Job, Errno> {
    let mut prefix = [0; 4];
    read_exact(control, &mut prefix)?;
    let mut bytes = vec![0; u32::from_le_bytes(prefix) as usize];
    read_exact(control, &mut bytes)?;
    Job::decode(&bytes).ok_or(Errno::INVAL)
}

fn read_exact(control: &OwnedFd, mut buffer: &mut [u8]) -> Result<(), Errno> {
    while !buffer.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::read(control, &mut *buffer))? {
            0 => return Err(Errno::PIPE),
            n => buffer = &mut buffer[n..],
        }
    }
    Ok(())
}

/// Turns this forked process into the command. Returns only on failure.
fn become_command(job: &Job, stdio: &[OwnedFd]) -> Failed {
    let mut program = match prepare(job, stdio) {
        Ok(command) => command,
        Err(failed) => return failed,
    };
    let error = program.exec();
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    Failed(Stage::Exec, Errno::from_raw_os_error(errno))
}

fn prepare(job: &Job, stdio: &[OwnedFd]) -> Result<Command, Failed> {
    let on = |stage| move |errno| Failed(stage, errno);
    rustix::process::setsid().map_err(on(Stage::Session))?;
    let own = stdio.len().saturating_sub(job.extra.len());
    let (stdio, extra) = stdio.split_at_checked(own).unwrap_or((stdio, &[]));
    connect_stdio(job, stdio).map_err(on(Stage::Stdio))?;
    // Best effort each: where the kernel refuses, the command runs with what it inherited.
    let _ = sys::close_others_on_exec();
    connect_extra(job, extra).map_err(on(Stage::Stdio))?;
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let _ = sys::set_nice(0);
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(OPEN_FILES, |max| max.min(OPEN_FILES));
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(current),
            maximum: limit.maximum,
        },
    );
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sys::become_user(job.uid, job.gid, &job.groups).map_err(on(Stage::User))?;
    // As the user: a directory the user may not enter is no place to start.
    if let Err(errno) = rustix::process::chdir(job.cwd.as_slice()) {
        if !job.cwd_optional {
            return Err(Failed(Stage::Cwd, errno));
        }
        rustix::process::chdir("/").map_err(on(Stage::Cwd))?;
    }
    let mut command = Command::new(job.program());
    command.env_clear();
    for argument in job.argv.iter().skip(1) {
        command.arg(OsStr::from_bytes(argument));
    }
    for pair in &job.env {
        if let Some(equals) = pair.iter().position(|&b| b == b'=') {
            command.env(
                OsStr::from_bytes(&pair[..equals]),
                OsStr::from_bytes(&pair[equals + 1..]),
            );
        }
    }
    Ok(command)
}

fn connect_stdio(job: &Job, stdio: &[OwnedFd]) -> Result<(), Errno> {
    let (input, output, error) = match stdio {
        [terminal] => (terminal, terminal, terminal),
        [input, output, error] => (input, output, error),
        _ => return Err(Errno::INVAL),
    };
    if job.terminal {
        rustix::process::ioctl_tiocsctty(input)?;
    }
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(error)?;
    Ok(())
}

/// Gives `extra` the numbers the job says. This process has no other descriptors that high.
fn connect_extra(job: &Job, extra: &[OwnedFd]) -> Result<(), Errno> {
    for (descriptor, &number) in extra.iter().zip(&job.extra) {
        let wanted = i32::try_from(number).map_err(|_| Errno::INVAL)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, wanted)?;
        rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty())?;
        // It is the command's from here on.
        if copy.into_raw_fd() != wanted {
            return Err(Errno::BUSY);
        }
    }
    Ok(())
}

/// The command and all that descends from it.
struct Tree {
    control: OwnedFd,
    /// The command itself until it has been reaped.
    main: Option<Pid>,
    /// Whether the agent wants to know what is used.
    usage: bool,
}

impl Tree {
    /// Serves until neither the command nor anything that descends from it is left.
    fn watch(&mut self, signals: &OwnedFd) {
        let mut agent_is_there = true;
        while !self.reap() {
            let mut polled = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
            if agent_is_there {
                polled.push(PollFd::from_borrowed_fd(
                    self.control.as_fd(),
                    PollFlags::IN,
                ));
            }
            if poll(&mut polled, None).is_err() {
                continue;
            }
            let ordered = polled.get(1).is_some_and(|p| !p.revents().is_empty());
            drain(signals);
            if ordered && !self.obey() {
                agent_is_there = false;
                self.kill();
            }
        }
        self.report_usage();
    }

    /// Reaps what has ended. Returns whether no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.main == Some(pid) => {
                    self.main = None;
                    self.report_usage();
                    report(&self.control, ending(status));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn report_usage(&self) {
        if self.usage {
            let (cpu_micros, peak_bytes) = sys::used_by_children();
            let usage = Report::Usage {
                cpu_micros,
                peak_bytes,
            };
            report(&self.control, usage);
        }
    }

    /// Does what the agent orders. Returns whether the agent is still there.
    fn obey(&mut self) -> bool {
        let mut bytes = [0; ORDER];
        if read_exact(&self.control, &mut bytes).is_err() {
            return false;
        }
        match Order::decode(bytes) {
            // The command is our unreaped child, so its number can't have passed to another.
            Some(Order::Signal(number)) => {
                if let (Some(pid), Some(signal)) = (self.main, Signal::from_named_raw(number)) {
                    let _ = kill_process(pid, signal);
                }
            }
            Some(Order::SignalTree(number)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    tree::signal_descendants(getpid().as_raw_nonzero().get(), signal);
                }
            }
            Some(Order::KillTree) => self.kill(),
            None => return false,
        }
        true
    }

    fn kill(&mut self) {
        let this = getpid().as_raw_nonzero().get();
        let mut pause = std::time::Duration::from_micros(100);
        while tree::kill_descendants(this) {
            // The dead need a moment to be reparented, one that sleeps in the kernel a longer one.
            std::thread::sleep(pause);
            pause = (pause * 2).min(std::time::Duration::from_millis(50));
            if self.reap() {
                return;
            }
        }
        // Only where /proc could not be read.
        if let Some(pid) = self.main {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn ending(status: WaitStatus) -> Report {
    match status.terminating_signal() {
        Some(signal) => Report::Signaled {
            signal,
            core_dumped: status.as_raw() & 0x80 != 0,
        },
        None => Report::Exited {
            code: status.exit_status().unwrap_or(-1),
        },
    }
}

/// Empties the signal descriptor; what it says is found by waiting.
fn drain(signals: &OwnedFd) {
    let mut buffer = [0; 512];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|n| n > 0) {}
}
