//! Killing a command with all that descends from it, also what left its session or process
//! group: a supervisor is the subreaper of its command, so whatever daemonises is still found
//! below the supervisor.

use rustix::process::{kill_process, Pid, Signal};
use std::collections::{HashMap, HashSet};
use std::fs;

/// Rounds of stopping before killing. Each round stops what was forked during the one before; a
/// fork bomb loses, because what is stopped forks no more and the limit of processes ends its
/// growth.
const MAX_ROUNDS: usize = 64;

/// Kills every descendant of process `root`. Returns whether there was one; the caller reaps and
/// calls again until there is none.
pub(crate) fn kill_descendants(root: i32) -> bool {
    let mut stopped = HashSet::new();
    for _ in 0..MAX_ROUNDS {
        let fresh: Vec<i32> = descendants(root)
            .into_iter()
            .filter(|pid| !stopped.contains(pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            signal(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for &pid in &stopped {
        signal(pid, Signal::KILL);
    }
    !stopped.is_empty()
}

/// Sends a signal to every descendant of process `root`.
pub(crate) fn signal_descendants(root: i32, wanted: Signal) {
    for pid in descendants(root) {
        signal(pid, wanted);
    }
}

/// Sends a signal. It fails only for a process that has ended meanwhile, which is as good.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Every living process below `root`. A process whose parent ends during the scan moves up to
/// the supervisor and is seen in the next scan.
fn descendants(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = pid else { continue };
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(parent) = living_parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(pid);
            queue.push(pid);
        }
    }
    found
}

/// The parent in a line of /proc/*/stat, unless the process is dead. The name in parentheses is
/// the process's own choice and may hold anything, so fields are counted from the last `)`.
fn living_parent(stat: &[u8]) -> Option<i32> {
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::living_parent;

    #[test]
    fn names_cannot_lie_about_parents() {
        assert_eq!(living_parent(b"7 (a) R 1 ) S 42 7 7"), Some(42));
        assert_eq!(living_parent(b"7 (sh) Z 42 7"), None);
        assert_eq!(living_parent(b"7 (\xff) S 3 7"), Some(3));
        assert_eq!(living_parent(b"7"), None);
    }
}
