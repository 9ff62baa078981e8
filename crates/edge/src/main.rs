//! The edge: everything that comes to a node from outside passes here.
#![forbid(unsafe_code)]

mod activity;
mod answers;
mod arguments;
mod authorise;
mod body;
mod connection;
mod control_link;
mod dial;
mod driver;
mod egress;
mod exchange;
mod exposures;
mod forward;
mod head_limit;
mod headers;
mod launcher_client;
mod listener;
mod loopback;
mod pool;
mod routing;
mod run;
mod sandboxes;
mod shown;
mod tls;
mod upgrade;
mod visit;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::log_to_standard_error();
    match run::run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the edge can't go on");
            ExitCode::FAILURE
        }
    }
}
