//! Who this sandbox is: /etc/hostname, /etc/hosts, /etc/resolv.conf and /etc/machine-id,
//! written at birth. The image may have anything at these paths, also links that lead elsewhere:
//! each is removed and made anew, never written through.

use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The resolver every sandbox has: the edge.
const RESOLV_CONF: &str = "nameserver 10.0.0.1\n";

/// Writes all four below `etc`. What can't be written is reported and left as it is: a sandbox
/// with an odd image is better than none.
pub(crate) fn write(etc: &Path, hostname: &str) {
    let hosts = format!(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.2 {hostname}\n"
    );
    if let Err(error) = fs::create_dir_all(etc) {
        eprintln!("wardian-agent: making {}: {error}", etc.display());
    }
    for (name, content) in [
        ("hostname", format!("{hostname}\n").as_str()),
        ("hosts", &hosts),
        ("resolv.conf", RESOLV_CONF),
        // Empty: programs that want one make their own, different in each sandbox.
        ("machine-id", ""),
    ] {
        let path = etc.join(name);
        if name == "machine-id" && !is_missing_or_empty(&path) {
            continue;
        }
        if let Err(error) = replace(&path, content) {
            eprintln!("wardian-agent: writing {}: {error}", path.display());
        }
    }
}

fn is_missing_or_empty(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or(true, |m| !m.is_file() || m.len() == 0)
}

fn replace(path: &Path, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = path.as_os_str().as_bytes();
    let file = rustix::fs::open(name, flags, Mode::from_raw_mode(0o644))?;
    fs::File::from(file).write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_not_followed() {
        let root = std::env::temp_dir().join(format!("wardian-identity-{}", std::process::id()));
        let etc = root.join("etc");
        fs::create_dir_all(etc.join("hosts")).unwrap();
        fs::write(root.join("precious"), "keep").unwrap();
        std::os::unix::fs::symlink(root.join("precious"), etc.join("resolv.conf")).unwrap();
        fs::write(etc.join("machine-id"), "").unwrap();
        write(&etc, "box");
        assert_eq!(fs::read_to_string(root.join("precious")).unwrap(), "keep");
        assert_eq!(
            fs::read_to_string(etc.join("resolv.conf")).unwrap(),
            RESOLV_CONF
        );
        assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap(), "box\n");
        assert_eq!(fs::read_to_string(etc.join("machine-id")).unwrap(), "");
        // A directory in the place of a file is left alone.
        assert!(etc.join("hosts").is_dir());
        fs::remove_dir_all(root).unwrap();
    }
}
