//! The command line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use wardian_wire::host::{Domain, InvalidDomain};

pub(crate) const USAGE: &str = "usage: wardian-edge --domain D --api-socket P --control-socket P \
--launcher-socket P [--tls-certificate F --tls-key F] [--trusted-proxy ADDRESS]… \
[--handlers-socket P]; the public listener is descriptor 0";

/// What the supervisor says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) domain: Domain,
    pub(crate) api_socket: PathBuf,
    pub(crate) control_socket: PathBuf,
    pub(crate) launcher_socket: PathBuf,
    /// Certificate and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Proxies whose word on their callers is taken.
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Where the operator's egress handlers are asked.
    pub(crate) handlers_socket: Option<PathBuf>,
}

/// Why the command line can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ArgumentError {
    /// An option that does not exist.
    #[error("unknown option {0}")]
    Unknown(String),
    /// An option without a value, or given twice.
    #[error("{0} needs one value")]
    Value(String),
    /// An option that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// `--domain` holds no domain.
    #[error("--domain: {0}")]
    Domain(#[from] InvalidDomain),
    /// `--trusted-proxy` holds no address.
    #[error("--trusted-proxy {0}: not an IP address")]
    Proxy(String),
}

impl Arguments {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, ArgumentError> {
        const PROXY: &str = "--trusted-proxy";
        const KNOWN: [&str; 7] = [
            "--domain",
            "--api-socket",
            "--control-socket",
            "--launcher-socket",
            "--handlers-socket",
            "--tls-certificate",
            "--tls-key",
        ];
        let mut given: HashMap<&'static str, String> = HashMap::new();
        let mut trusted_proxies = Vec::new();
        let mut arguments = arguments;
        while let Some(option) = arguments.next() {
            if option == PROXY {
                let text = arguments.next().ok_or(ArgumentError::Value(option))?;
                let address = text.parse().map_err(|_| ArgumentError::Proxy(text))?;
                trusted_proxies.push(address);
                continue;
            }
            let known = KNOWN.iter().find(|known| **known == option);
            let known = known.ok_or_else(|| ArgumentError::Unknown(option.clone()))?;
            let value = arguments
                .next()
                .ok_or(ArgumentError::Value(option.clone()))?;
            if given.insert(known, value).is_some() {
                return Err(ArgumentError::Value(option));
            }
        }
        let mut take = |name: &'static str| given.remove(name).ok_or(ArgumentError::Missing(name));
        let tls = match (take("--tls-certificate"), take("--tls-key")) {
            (Ok(certificate), Ok(key)) => Some((certificate.into(), key.into())),
            (Err(_), Err(_)) => None,
            (Err(missing), _) | (_, Err(missing)) => return Err(missing),
        };
        Ok(Self {
            domain: Domain::parse(&take("--domain")?)?,
            api_socket: take("--api-socket")?.into(),
            control_socket: take("--control-socket")?.into(),
            launcher_socket: take("--launcher-socket")?.into(),
            handlers_socket: take("--handlers-socket").ok().map(PathBuf::from),
            tls,
            trusted_proxies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_option_once_and_no_other() {
        let whole = "--domain localhost --api-socket a --control-socket c --launcher-socket l";
        assert_eq!(parse(whole).unwrap().tls, None);
        let tls = parse(&format!("{whole} --tls-certificate x --tls-key y"))
            .unwrap()
            .tls;
        assert_eq!(tls, Some(("x".into(), "y".into())));
        let half = parse(&format!("{whole} --tls-key y"));
        assert_eq!(half, Err(ArgumentError::Missing("--tls-certificate")));
        let proxies = parse(&format!(
            "{whole} --trusted-proxy ::1 --trusted-proxy 10.0.0.1"
        ))
        .unwrap()
        .trusted_proxies;
        assert_eq!(proxies.len(), 2);
        let name = parse(&format!("{whole} --trusted-proxy caddy"));
        assert_eq!(name, Err(ArgumentError::Proxy("caddy".into())));
        assert_eq!(parse(whole).unwrap().handlers_socket, None);
        let handlers = parse(&format!("{whole} --handlers-socket h")).unwrap();
        assert_eq!(handlers.handlers_socket, Some("h".into()));
        let twice = parse(&format!("{whole} --domain b"));
        assert_eq!(twice, Err(ArgumentError::Value("--domain".into())));
        assert_eq!(
            parse("--port 1"),
            Err(ArgumentError::Unknown("--port".into()))
        );
        assert_eq!(
            parse("--domain a"),
            Err(ArgumentError::Missing("--api-socket"))
        );
    }
}
