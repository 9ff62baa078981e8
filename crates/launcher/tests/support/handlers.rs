//! Stands in for the handlers' process: tells whoever connects to descriptor 0 who it is and what
//! it was started with, and ends. Built by the tests with plain rustc.

use std::io::Write;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixListener;

extern "C" {
    fn getuid() -> u32;
    fn getgid() -> u32;
    fn getgroups(size: i32, list: *mut u32) -> i32;
}

fn main() {
    let listener = unsafe { UnixListener::from_raw_fd(0) };
    let (mut stream, _) = listener.accept().unwrap();
    let who = unsafe { (getuid(), getgid(), getgroups(0, std::ptr::null_mut())) };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let log = std::env::var("WARDIAN_LOG").unwrap_or_default();
    write!(stream, "{who:?} {words:?} {log}").unwrap();
}
