//! Where this machine keeps which controller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a sandbox's limits need, wherever it lies.
const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];

/// No usable control groups.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LayoutError {
    #[error("no control groups are mounted: mount cgroup2 at /sys/fs/cgroup")]
    NoneMounted,
    #[error("the {0} controller is in no mounted control group hierarchy")]
    Missing(&'static str),
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Controller of v1 → where it is mounted.
    pub(crate) v1: BTreeMap<String, PathBuf>,
    /// Where v2 is mounted.
    pub(crate) v2: Option<PathBuf>,
    /// Controllers that v2 has.
    pub(crate) v2_controllers: Vec<String>,
}

impl Hierarchies {
    /// Reads the machine's layout.
    ///
    /// # Errors
    /// [`LayoutError`] if a needed controller is nowhere.
    pub(crate) fn of_this_machine() -> Result<Self, LayoutError> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::detect(&mounts, |v2| {
            std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Reads the layout from the text of `/proc/self/mountinfo`; `controllers` gives what
    /// `cgroup.controllers` says at the mount of v2.
    pub(crate) fn detect(
        mountinfo: &str,
        controllers: impl Fn(&Path) -> String,
    ) -> Result<Self, LayoutError> {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((kind, place, options)) = file_system(line) else {
                continue;
            };
            match kind {
                "cgroup2" if found.v2.is_none() => found.v2 = Some(place),
                "cgroup" => {
                    for option in options.split(',') {
                        let v1 = found.v1.entry(option.to_owned());
                        v1.or_insert_with(|| place.clone());
                    }
                }
                _ => {}
            }
        }
        if let Some(v2) = &found.v2 {
            found.v2_controllers = controllers(v2)
                .split_whitespace()
                .map(String::from)
                .collect();
        }
        if found.v1.is_empty() && found.v2.is_none() {
            return Err(LayoutError::NoneMounted);
        }
        for needed in NEEDED {
            if !found.v1.contains_key(needed) && !found.on_v2(needed) {
                return Err(LayoutError::Missing(needed));
            }
        }
        if found.v2.is_none() {
            for needed in ["freezer", "cpuacct"] {
                if !found.v1.contains_key(needed) {
                    return Err(LayoutError::Missing(needed));
                }
            }
        }
        Ok(found)
    }

    /// Whether v2 has this controller.
    pub(crate) fn on_v2(&self, controller: &str) -> bool {
        self.v2_controllers.iter().any(|c| c == controller)
    }

    /// `v1`, `v2` or `hybrid`.
    pub(crate) fn name(&self) -> &'static str {
        let v1 = NEEDED.iter().any(|c| self.v1.contains_key(*c));
        match (&self.v2, v1) {
            (None, _) => "v1",
            (Some(_), false) => "v2",
            (Some(_), true) => "hybrid",
        }
    }
}

/// Type, mount point and super-block options of a line of mountinfo.
fn file_system(line: &str) -> Option<(&str, PathBuf, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let place = left.split(' ').nth(4)?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    let options = right.nth(1)?;
    Some((kind, PathBuf::from(unescape(place)), options))
}

/// mountinfo writes blanks in paths as octal escapes.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "25 30 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "33 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        34 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        36 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
        37 31 0:35 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn detect(text: &str, controllers: &str) -> Result<Hierarchies, LayoutError> {
        Hierarchies::detect(text, |_| controllers.to_owned())
    }

    #[test]
    fn tells_the_layouts_apart() {
        let v2 = detect(V2, "cpuset cpu io memory pids\n").unwrap();
        assert_eq!((v2.name(), v2.v2), ("v2", Some("/sys/fs/cgroup".into())));
        let v1 = detect(V1, "").unwrap();
        assert_eq!(v1.name(), "v1");
        assert_eq!(v1.v1["cpu"], v1.v1["cpuacct"]);
        let both = format!("{V1}{UNIFIED}");
        let hybrid = detect(&both, "").unwrap();
        assert_eq!(hybrid.name(), "hybrid");
        assert_eq!(hybrid.v2, Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(detect("", ""), Err(LayoutError::NoneMounted));
        assert_eq!(detect(V2, "cpu pids"), Err(LayoutError::Missing("memory")));
        let no_freezer: String = V1.lines().filter(|l| !l.contains("freezer")).collect();
        assert!(detect(&no_freezer, "").is_err());
    }

    #[test]
    fn reads_escaped_paths() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
