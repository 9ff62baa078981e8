//! The launcher: the one privileged process of a node. It makes and unmakes sandboxes, hands out
//! sockets, and decides nothing.
#![deny(unsafe_code)]

mod cgroup;
mod channel;
mod death_watch;
mod disk;
mod failure;
mod kernel;
mod layer;
mod parked;
mod sandbox;
mod seccomp;
mod serve;
mod server;
mod slots;
mod supervise;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: wardian-launcher serve|supervise --config node.json";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(|a| a.to_str().unwrap_or("")).collect();
    let result = match words[..] {
        // Started by the launcher itself.
        ["park"] => return parked::helper::run(),
        ["serve", "--config", _] => {
            start_logging();
            serve::run(&PathBuf::from(&arguments[2])).map_err(|e| e.to_string())
        }
        ["supervise", "--config", _] => {
            start_logging();
            supervise::run(&PathBuf::from(&arguments[2])).map_err(|e| e.to_string())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// JSON lines on standard error.
fn start_logging() {
    let level = std::env::var("WARDIAN_LOG").unwrap_or_default();
    let level = level.parse().unwrap_or(tracing::Level::INFO);
    let log = tracing_subscriber::fmt().json().with_max_level(level);
    log.with_writer(std::io::stderr).init();
}
