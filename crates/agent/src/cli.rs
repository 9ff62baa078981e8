//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
wardian-agent: runs commands and moves files inside a Wardian sandbox

The launcher starts it as PID 1 of a sandbox, without arguments, with its listening socket on
descriptor 3 and its configuration on descriptor 4.

To try it or to debug, run it as an ordinary process:

  wardian-agent --standalone --listen ADDRESS:PORT [--boot FILE] [--logs DIRECTORY]

It then serves the same protocol on that address, changes nothing in /etc, reaps only its own
children, and stops on SIGTERM or SIGINT with all commands it started. Whoever can reach the
address can run commands as the user the agent runs as, unless FILE sets an access token.

  --listen ADDRESS:PORT  where to listen, e.g. 127.0.0.1:49983
  --boot FILE            configuration: the JSON of docs/node-protocols.md (crates/wire/src/boot.rs);
                         without it: no token, default user root, 2 CPUs, 2 GiB, 10 GiB
  --logs DIRECTORY       where logs of background processes go; /var/log/wardian/processes if not
                         given
  --help, --version
";

/// How the program was called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sandbox,
    Standalone {
        listen: SocketAddr,
        boot: Option<PathBuf>,
        logs: Option<PathBuf>,
    },
    Spawner,
    Help,
    Version,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Mode, String> {
    let mut standalone = false;
    let mut listen = None;
    let mut boot = None;
    let mut logs = None;
    let mut arguments = arguments.peekable();
    if arguments.peek().is_none() {
        return Ok(Mode::Sandbox);
    }
    while let Some(argument) = arguments.next() {
        let mut value = |option: &str| {
            arguments
                .next()
                .ok_or_else(|| format!("{option} needs a value"))
        };
        match argument.to_str() {
            Some(crate::process::spawner::ARGUMENT) => return Ok(Mode::Spawner),
            Some("--help" | "-h") => return Ok(Mode::Help),
            Some("--version") => return Ok(Mode::Version),
            Some("--standalone") => standalone = true,
            Some("--listen") => {
                let address = value("--listen")?;
                let parsed = address.to_str().and_then(|a| a.parse().ok());
                listen = Some(parsed.ok_or("--listen needs an address like 127.0.0.1:49983")?);
            }
            Some("--boot") => boot = Some(PathBuf::from(value("--boot")?)),
            Some("--logs") => logs = Some(PathBuf::from(value("--logs")?)),
            _ => return Err(format!("unknown argument {}", argument.to_string_lossy())),
        }
    }
    match (standalone, listen) {
        (true, Some(listen)) => Ok(Mode::Standalone { listen, boot, logs }),
        _ => Err("--standalone and --listen go together".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Mode, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn modes() {
        assert_eq!(read(&[]), Ok(Mode::Sandbox));
        assert_eq!(read(&["--help"]), Ok(Mode::Help));
        assert_eq!(
            read(&["--standalone", "--listen", "127.0.0.1:1", "--boot", "x"]),
            Ok(Mode::Standalone {
                listen: ([127, 0, 0, 1], 1).into(),
                boot: Some("x".into()),
                logs: None,
            })
        );
        assert!(read(&["--standalone"]).is_err());
        assert!(read(&["--listen", "127.0.0.1:1"]).is_err());
        assert!(read(&["--listen"]).is_err());
        assert!(read(&["what"]).is_err());
    }
}
