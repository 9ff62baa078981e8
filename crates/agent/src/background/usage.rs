//! What running processes have used so far, from one look through /proc.

use super::status::Used;
use std::collections::HashMap;
use std::fs;

/// One process as /proc shows it. CPU times in clock ticks.
struct Entry {
    parent: u32,
    /// By itself, and by its children that it has waited for.
    own: u64,
    waited: u64,
}

/// What each of `commands`, by process number, has used with all that descends from it. May block.
pub(crate) fn look(commands: &[u32]) -> HashMap<u32, Used> {
    let mut entries = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = pid else { continue };
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(entry) = parse(&stat) {
            entries.insert(pid, entry);
        }
    }
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, entry) in &entries {
        children.entry(entry.parent).or_default().push(*pid);
    }
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let mut found = HashMap::new();
    for command in commands {
        // Orphans of the command hang below its supervisor, which has also waited for the dead.
        let Some(supervisor) = entries.get(command).map(|e| e.parent) else {
            continue;
        };
        let mut cpu = entries.get(&supervisor).map_or(0, |e| e.waited);
        let mut peak = 0;
        let mut queue = children.get(&supervisor).cloned().unwrap_or_default();
        while let Some(pid) = queue.pop() {
            cpu += entries.get(&pid).map_or(0, |e| e.own + e.waited);
            peak = peak.max(peak_of(pid));
            queue.extend(children.get(&pid).into_iter().flatten());
        }
        let used = Used {
            cpu_micros: cpu.saturating_mul(1_000_000) / ticks,
            peak_bytes: peak,
        };
        found.insert(*command, used);
    }
    found
}

/// The name in parentheses may hold anything, so fields are counted from the last `)`.
fn parse(stat: &[u8]) -> Option<Entry> {
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().take(15).collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Entry {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)?.saturating_add(number(12)?),
        waited: number(13)?.saturating_add(number(14)?),
    })
}

fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let line = b"7 (a) R 1 ) S 42 7 7 0 -1 4 5 6 7 8 10 20 300 4000 20 0 1";
        let entry = parse(line).unwrap();
        assert_eq!((entry.parent, entry.own, entry.waited), (42, 30, 4300));
        assert!(parse(b"7 (x) S 1 2").is_none());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn this_process_is_seen() {
        let this = std::process::id();
        assert!(look(&[this, u32::MAX]).get(&this).unwrap().peak_bytes > 0);
    }
}
