//! Calls of a sandbox's services through the API: `/v1/sandboxes/{id or name}/<service>/…`.
//!
//! One reading of a path decides who may ask for it, and the same text goes on to the sandbox. So
//! a path that another reader could take for a different one is refused, not tidied up.

use crate::percent;

/// What a sandbox's agent serves below `/v1/`.
pub const SERVICES: [&str; 7] = [
    "sessions",
    "processes",
    "run",
    "terminals",
    "files",
    "watch",
    "git",
];
/// The query parameter that stands for a key where no header can be sent.
pub const TICKET: &str = "ticket";
/// The longest ticket that is looked at, in bytes.
const MAX_TICKET: usize = 2048;

/// A call of one service of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCall {
    /// The sandbox's id or name as it stands in the path, percent-encoded.
    pub sandbox: String,
    /// One of [`SERVICES`].
    pub service: &'static str,
    /// What follows the service, without the slash between; may be empty.
    pub path: String,
}

/// The path may mean different things to different readers.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the path holds an empty or dot segment, an encoded slash or a control character")]
pub struct AmbiguousPath;

/// The query holds more than one ticket, or one that is too long.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("send one ticket of at most {MAX_TICKET} bytes")]
pub struct BadTicket;

impl ServiceCall {
    /// Reads the path of a request; `None`: it is no call of a service.
    ///
    /// # Errors
    /// [`AmbiguousPath`].
    pub fn parse(path: &str) -> Result<Option<Self>, AmbiguousPath> {
        let Some(rest) = path.strip_prefix("/v1/sandboxes/") else {
            return Ok(None);
        };
        let mut parts = rest.splitn(3, '/');
        let (sandbox, service) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let Some(service) = SERVICES.into_iter().find(|known| *known == service) else {
            return Ok(None);
        };
        let tail = parts.next();
        let plain = is_plain(sandbox) && tail.is_none_or(|tail| tail.split('/').all(is_plain));
        let call = Self {
            sandbox: sandbox.to_owned(),
            service,
            path: tail.unwrap_or("").to_owned(),
        };
        plain.then_some(Some(call)).ok_or(AmbiguousPath)
    }

    /// The path at the agent.
    #[must_use]
    pub fn agent_path(&self) -> String {
        let separator = if self.path.is_empty() { "" } else { "/" };
        format!("/v1/{}{separator}{}", self.service, self.path)
    }
}

/// Takes the parameter `name`, which holds a ticket, out of a query; gives the rest of the query
/// as it was, and the ticket.
///
/// # Errors
/// [`BadTicket`].
pub fn take_ticket(query: &str, name: &str) -> Result<(String, Option<String>), BadTicket> {
    let (mut kept, mut ticket) = (Vec::new(), None);
    for pair in query.split('&') {
        let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent::decoded(given) != name.as_bytes() {
            kept.push(pair);
        } else if value.len() > MAX_TICKET || ticket.replace(value.to_owned()).is_some() {
            return Err(BadTicket);
        }
    }
    Ok((kept.join("&"), ticket))
}

/// Whether a part of a path between slashes means the same to everyone.
fn is_plain(segment: &str) -> bool {
    let decoded = percent::decoded(segment);
    let suspicious = |byte: &u8| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f);
    // What still looks encoded once it is decoded would be another path to whoever decodes twice.
    let twice = percent::decoded(&decoded) != decoded;
    !(decoded.is_empty()
        || decoded == b"."
        || decoded == b".."
        || decoded.iter().any(suspicious)
        || twice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(path: &str) -> Result<Option<(String, &'static str, String)>, AmbiguousPath> {
        ServiceCall::parse(path)
            .map(|call| call.map(|call| (call.sandbox, call.service, call.path)))
    }

    #[test]
    fn the_services_and_nothing_else() {
        let call = |sandbox: &str, service, path: &str| {
            Ok(Some((sandbox.to_owned(), service, path.to_owned())))
        };
        assert_eq!(parse("/v1/sandboxes/me/run"), call("me", "run", ""));
        let log = parse("/v1/sandboxes/me/processes/web/log");
        assert_eq!(log, call("me", "processes", "web/log"));
        for other in [
            "/v1/sandboxes",
            "/v1/sandboxes/me",
            "/v1/sandboxes/me/usage",
            "/v1/sandboxes/me/runs",
            "/v1/sandboxes/me/%72un",
            "/v1/sandboxes/me//run",
            "//v1/sandboxes/me/run",
            "/v1/templates/me/run",
            "/V1/sandboxes/me/run",
        ] {
            assert_eq!(parse(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for tail in [
            "/",
            "/a/",
            "//a",
            "/.",
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/a/.%2E",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0a",
            "/%252e%252e/b",
            "/a%252fb",
        ] {
            let path = format!("/v1/sandboxes/me/files{tail}");
            assert_eq!(parse(&path), Err(AmbiguousPath), "{path}");
        }
        for sandbox in ["", ".", "..", "%2e%2e", "a%2fb"] {
            let path = format!("/v1/sandboxes/{sandbox}/files");
            assert_eq!(parse(&path), Err(AmbiguousPath), "{path}");
        }
    }

    #[test]
    fn a_ticket_is_taken_out_in_any_spelling() {
        let taken = |query: &str, rest: &str, ticket: Option<&str>| {
            let expected = (rest.to_owned(), ticket.map(str::to_owned));
            assert_eq!(take_ticket(query, TICKET), Ok(expected), "{query}");
        };
        taken("", "", None);
        taken("a=%20b&&tickets=1", "a=%20b&&tickets=1", None);
        taken("ticket=x", "", Some("x"));
        taken("a=1&%74icket=x&b", "a=1&b", Some("x"));
        taken("ticket", "", Some(""));
        assert_eq!(take_ticket("ticket=x&ticket=x", TICKET), Err(BadTicket));
        assert_eq!(
            take_ticket(&format!("ticket={:2049}", ""), TICKET),
            Err(BadTicket)
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_never_lets_dots_by(path in "(/v1/sandboxes/)?[a-z%./2eEfF\\\\]{0,40}") {
            if let Ok(Some(call)) = ServiceCall::parse(&path) {
                let decoded = percent::decoded(call.agent_path());
                let text = String::from_utf8_lossy(&decoded).into_owned();
                prop_assert!(text.split(['/', '\\']).skip(1).all(|part| !matches!(part, "" | "." | "..")));
            }
        }

        #[test]
        fn no_ticket_is_left(query in "(ticket|%74icket|a|=|&|%|7){0,12}") {
            if let Ok((rest, _)) = take_ticket(&query, TICKET) {
                prop_assert_eq!(take_ticket(&rest, TICKET), Ok((rest.clone(), None)));
            }
        }
    }
}
