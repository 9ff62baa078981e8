//! What a session's shell reads from and reports to: files in memory. Nobody waits for them to be
//! written or read, whoever in the sandbox still has them open.

use rustix::fd::OwnedFd;
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, seek, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use wardian_wire::session::report::MAX_REPORT;

/// A file that holds `text` and can't be changed.
pub(super) fn input(text: &[u8]) -> Result<OwnedFd, Errno> {
    let file = file("session")?;
    let mut rest = text;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or(&[]);
    }
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file)
}

/// An empty file that takes [`MAX_REPORT`] bytes and no more. It costs what is written to it.
pub(super) fn report() -> Result<OwnedFd, Errno> {
    let file = file("report")?;
    ftruncate(&file, MAX_REPORT as u64)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// What was written to a report by all who share its descriptor.
pub(super) fn written(report: &OwnedFd) -> Result<Vec<u8>, Errno> {
    // The position is that of the open file, which the shell's descriptors are copies of.
    let end = seek(report, SeekFrom::Current(0))?;
    let mut bytes = vec![0; usize::try_from(end).unwrap_or(MAX_REPORT).min(MAX_REPORT)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let read =
            rustix::io::retry_on_intr(|| rustix::io::pread(report, &mut *rest, filled as u64))?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn file(name: &str) -> Result<OwnedFd, Errno> {
    memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_so_much_and_no_more() {
        let file = report().unwrap();
        assert_eq!(written(&file).unwrap(), b"");
        let copy = file.try_clone().unwrap();
        rustix::io::write(&copy, b"some").unwrap();
        assert_eq!(written(&file).unwrap(), b"some");
        seek(&copy, SeekFrom::Start(MAX_REPORT as u64 - 1)).unwrap();
        rustix::io::write(&copy, b"x").unwrap();
        assert_eq!(rustix::io::write(&copy, b"y"), Err(Errno::PERM));
        assert_eq!(written(&file).unwrap().len(), MAX_REPORT);
    }

    #[test]
    fn input_stays_as_it_is() {
        let file = input(b"text").unwrap();
        assert_eq!(rustix::io::pwrite(&file, b"x", 0), Err(Errno::PERM));
    }
}
