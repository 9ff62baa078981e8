//! Stands in for the agent in the launcher's tests: PID 1 that does what each connection says.
//! Built by the tests with plain rustc, statically, so it needs nothing inside.
//!
//! A connection sends one line and gets all output, then `\nstatus N`:
//! - `!socket F T P`: a socket of that family, type and protocol; `!call N A B C`: a system call
//! - `!packet X`: sends an IPv4 packet given in hexadecimal to the address in it
//! - `!hog`: PID 1 takes memory until it is killed; `!exit`: PID 1 exits
//! - `!boot`: what descriptor 4 holds; anything else: run by `/bin/sh -c`

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::process::Command;

extern "C" {
    fn syscall(number: i64, ...) -> i64;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn socket(family: i32, kind: i32, protocol: i32) -> i32;
    fn sendto(socket: i32, data: *const u8, size: usize, flags: i32, to: *const u8, length: u32)
        -> isize;
}

fn main() {
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    let mut boot = String::new();
    unsafe { std::fs::File::from_raw_fd(4) }
        .read_to_string(&mut boot)
        .unwrap();
    for stream in listener.incoming() {
        let boot = boot.clone();
        std::thread::spawn(move || serve(stream.unwrap(), &boot));
    }
}

fn outcome(value: i64) -> (Vec<u8>, i32) {
    match value {
        -1 => (
            std::io::Error::last_os_error().to_string().into_bytes(),
            std::io::Error::last_os_error().raw_os_error().unwrap(),
        ),
        _ => (Vec::new(), 0),
    }
}

fn serve(mut stream: TcpStream, boot: &str) {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).map_or(0, |w| w.parse::<i64>().unwrap());
    let (output, status) = match words.first().copied() {
        Some("!socket") => {
            outcome(unsafe { socket(number(1) as i32, number(2) as i32, number(3) as i32).into() })
        }
        Some("!call") => outcome(unsafe { syscall(number(1), number(2), number(3), number(4), 0) }),
        Some("!packet") => {
            let digits = words[1].as_bytes().chunks(2);
            let bytes: Vec<u8> = digits
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let mut address = [0; 16];
            address[..2].copy_from_slice(&2_u16.to_ne_bytes());
            address[4..8].copy_from_slice(&bytes[16..20]);
            // IPPROTO_RAW: the header is the caller's.
            let raw = unsafe { socket(2, 3, 255) };
            let sent =
                unsafe { sendto(raw, bytes.as_ptr(), bytes.len(), 0, address.as_ptr(), 16) };
            drop(unsafe { std::fs::File::from_raw_fd(raw) });
            outcome(if sent < 0 { -1 } else { 0 })
        }
        Some("!boot") => (boot.as_bytes().to_vec(), 0),
        Some("!exit") => std::process::exit(3),
        Some("!hog") => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
            }
        }
        _ => {
            // Orphans are PID 1's; no two lines run at once while there are any.
            while unsafe { waitpid(-1, std::ptr::null_mut(), 1) } > 0 {}
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(&line).env("PATH", "/bin");
            match command.output() {
                Ok(done) => {
                    let mut output = done.stdout;
                    output.extend(done.stderr);
                    (output, done.status.code().unwrap_or(128))
                }
                Err(error) => (error.to_string().into_bytes(), 127),
            }
        }
    };
    let _ = stream.write_all(&output);
    let _ = write!(stream, "\nstatus {status}");
}
