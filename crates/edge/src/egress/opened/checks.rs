//! What is checked of every request before any rule is asked: that it has one meaning, and that it
//! is for the host that was dialled.

use crate::headers;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{request, Method, Version};
use wardian_wire::egress::destination::{Destination, Host};
use wardian_wire::egress::event::Reason;

/// The most header lines of a request, and their bytes together.
pub(super) const MAX_LINES: usize = 100;
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Why a request is refused whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: Reason,
    pub(super) message: &'static str,
}

const fn violation(reason: Reason, message: &'static str) -> Violation {
    Violation { reason, message }
}

/// Checks a head that came in a connection to `to`; `tls`: inside TLS.
///
/// # Errors
/// [`Violation`].
pub(super) fn check(head: &request::Parts, to: &Destination, tls: bool) -> Result<(), Violation> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(violation(
            Reason::Tunnel,
            "CONNECT and TRACE are not let through",
        ));
    }
    if head.headers.len() > MAX_LINES || headers::size(&head.headers) > MAX_HEAD {
        return Err(violation(
            Reason::TooLarge,
            "the head has more than 100 lines or 64 KiB",
        ));
    }
    framing(&head.headers)?;
    target(head)?;
    authority(head, to, tls)
}

/// The length of a body is said once, and in one way.
fn framing(headers: &HeaderMap) -> Result<(), Violation> {
    let malformed = |message| Err(violation(Reason::Malformed, message));
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return malformed("there are several Content-Length lines");
    }
    let digits =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if length.is_some_and(|length| !digits(length)) {
        return malformed("Content-Length is no number");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if length.is_some() {
        return malformed("there are both Content-Length and Transfer-Encoding");
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return malformed("Transfer-Encoding is other than chunked");
    }
    Ok(())
}

fn target(head: &request::Parts) -> Result<(), Violation> {
    let path = head.uri.path();
    let all = head.method == Method::OPTIONS && path == "*";
    if all || path.starts_with('/') || (path.is_empty() && head.uri.scheme().is_some()) {
        return Ok(());
    }
    Err(violation(
        Reason::Malformed,
        "the path begins with no slash",
    ))
}

/// All that names a host names the one that was dialled.
fn authority(head: &request::Parts, to: &Destination, tls: bool) -> Result<(), Violation> {
    let mismatch = |message| Err(violation(Reason::HostMismatch, message));
    let mut lines = head.headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return mismatch("there are several Host lines");
    }
    if let Some(scheme) = head.uri.scheme_str() {
        if scheme != if tls { "https" } else { "http" } {
            return mismatch("the scheme is not the connection's");
        }
    }
    let own = head.uri.authority().map(http::uri::Authority::as_str);
    if own.is_none() && head.uri.scheme().is_some() {
        return mismatch("the absolute form names no host");
    }
    let line = match line.map(HeaderValue::to_str) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return mismatch("Host is no host name"),
    };
    // HTTP/2 may do with :authority; HTTP/1 has a Host line even where the form is absolute.
    if line.is_none() && (own.is_none() || head.version != Version::HTTP_2) {
        return mismatch("there is no Host line");
    }
    if [own, line]
        .into_iter()
        .flatten()
        .all(|text| names(text, to, tls))
    {
        return Ok(());
    }
    mismatch("Host is not the host and port that was dialled")
}

/// Whether an authority is `to`, with the port wherever it is not the scheme's own.
fn names(text: &str, to: &Destination, tls: bool) -> bool {
    let own_port = if tls { 443 } else { 80 };
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if to.port == own_port && Host::parse(bare.unwrap_or(text)).as_ref() == Some(&to.host) {
        return true;
    }
    Destination::parse(text).as_ref() == Ok(to)
}

/// The authority that goes on: one spelling, whatever the sandbox wrote.
pub(super) fn canonical(to: &Destination, tls: bool) -> String {
    let own_port = if tls { 443 } else { 80 };
    match &to.host {
        host if to.port != own_port => Destination {
            host: host.clone(),
            port: to.port,
        }
        .to_string(),
        Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
        host => host.to_string(),
    }
}

/// Whether a request asks to become a WebSocket. `h2c` is left unheard, which HTTP allows: inside
/// it requests would go by that nobody here has looked at.
///
/// # Errors
/// [`Violation`] where it asks for anything else.
pub(super) fn upgrade(head: &request::Parts) -> Result<bool, Violation> {
    let refused = Err(violation(
        Reason::Tunnel,
        "an upgrade other than to websocket is not let through",
    ));
    let Some(protocol) = headers::requested_upgrade(&head.headers) else {
        let h2c = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"h2c");
        let lines = head.headers.get_all(header::UPGRADE);
        let asked = head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| {
                let text = value.to_str().unwrap_or_default();
                text.split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case("upgrade"))
            });
        return match asked && !lines.iter().all(h2c) {
            true => refused,
            false => Ok(false),
        };
    };
    let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    let bodiless = !head.headers.contains_key(header::CONTENT_LENGTH)
        && !head.headers.contains_key(header::TRANSFER_ENCODING);
    if websocket && bodiless && head.method == Method::GET && head.version == Version::HTTP_11 {
        return Ok(true);
    }
    refused
}

/// The line that tells the edge's words, and a handler's refusal, from a server's.
pub(super) const WARDIAN_EGRESS: HeaderName = HeaderName::from_static("wardian-egress");

/// Of an upgrade that is not made nothing is left, nor of a spoofed verdict.
pub(super) const OWN_LINES: [HeaderName; 2] =
    [HeaderName::from_static("http2-settings"), WARDIAN_EGRESS];

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn parts(uri: &str, lines: &[(&str, &str)], version: Version) -> request::Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn reason(uri: &str, lines: &[(&str, &str)], to: &str, tls: bool) -> Option<Reason> {
        let head = parts(uri, lines, Version::HTTP_11);
        let to = Destination::parse(to).unwrap();
        check(&head, &to, tls).err().map(|found| found.reason)
    }

    #[test]
    fn the_host_must_be_the_one_dialled() {
        let mismatch = Some(Reason::HostMismatch);
        for (uri, host, to, tls, expected) in [
            ("/", "a.example", "a.example:443", true, None),
            ("/", "A.Example.", "a.example:443", true, None),
            ("/", "a.example:443", "a.example:443", true, None),
            ("/", "a.example", "a.example:8443", true, mismatch),
            ("/", "a.example:8443", "a.example:8443", true, None),
            ("/", "a.example:80", "a.example:443", true, mismatch),
            ("/", "b.example", "a.example:443", true, mismatch),
            ("/", "a.example@b.example", "a.example:443", true, mismatch),
            ("/", "a.example,b.example", "a.example:443", true, mismatch),
            ("/", "", "a.example:443", true, mismatch),
            ("/", "192.0.2.1", "192.0.2.1:80", false, None),
            ("/", "192.0.2.1", "a.example:80", false, mismatch),
            (
                "http://a.example/",
                "a.example",
                "a.example:80",
                false,
                None,
            ),
            (
                "https://a.example/",
                "a.example",
                "a.example:80",
                false,
                mismatch,
            ),
            (
                "http://b.example/",
                "a.example",
                "a.example:80",
                false,
                mismatch,
            ),
            (
                "http://x@a.example/",
                "a.example",
                "a.example:80",
                false,
                mismatch,
            ),
            ("/", "[2001:db8::1]", "[2001:db8::1]:80", false, None),
        ] {
            let found = reason(uri, &[("host", host)], to, tls);
            assert_eq!(found, expected, "{uri} {host} {to}");
        }
        let two = [("host", "a.example"), ("host", "a.example")];
        assert_eq!(reason("/", &two, "a.example:80", false), mismatch);
        assert_eq!(reason("/", &[], "a.example:80", false), mismatch);
        let absolute = reason("http://a.example/", &[], "a.example:80", false);
        assert_eq!(absolute, mismatch);
        let head = parts("http://a.example/", &[], Version::HTTP_2);
        let to = Destination::parse("a.example:80").unwrap();
        assert_eq!(check(&head, &to, false), Ok(()));
    }

    #[test]
    fn a_length_is_said_once() {
        for lines in [
            &[("content-length", "1"), ("content-length", "1")][..],
            &[("content-length", "+1")],
            &[("content-length", "1, 1")],
            &[("content-length", "1"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
        ] {
            let all: Vec<_> = [("host", "a.example")]
                .iter()
                .chain(lines)
                .copied()
                .collect();
            let found = reason("/", &all, "a.example:80", false);
            assert_eq!(found, Some(Reason::Malformed), "{lines:?}");
        }
    }

    #[test]
    fn only_a_websocket_may_change_the_protocol() {
        let asked = |connection, upgrade| {
            let lines = [
                ("host", "a"),
                ("connection", connection),
                ("upgrade", upgrade),
            ];
            upgrade_of(&parts("/", &lines, Version::HTTP_11))
        };
        assert_eq!(asked("Upgrade", "WebSocket"), Ok(true));
        assert_eq!(asked("Upgrade, HTTP2-Settings", "h2c"), Ok(false));
        assert_eq!(asked("close", "anything"), Ok(false));
        for other in [
            "tls/1.0",
            "websocket, h2c",
            "h2c, websocket",
            "ssh",
            "http/2",
        ] {
            assert_eq!(asked("upgrade", other), Err(Reason::Tunnel), "{other}");
        }
    }

    fn upgrade_of(head: &request::Parts) -> Result<bool, Reason> {
        upgrade(head).map_err(|found| found.reason)
    }

    proptest! {
        #[test]
        fn no_other_host_is_ever_taken(text in "\\PC{0,30}|a\\.example[.:@,0-9 ]{0,6}") {
            let to = Destination::parse("a.example:443").unwrap();
            if names(&text, &to, true) {
                let text = text.to_ascii_lowercase();
                let bare = text.strip_suffix(":443").unwrap_or(&text);
                let bare = bare.strip_prefix('[').and_then(|b| b.strip_suffix(']')).unwrap_or(bare);
                prop_assert_eq!(bare.strip_suffix('.').unwrap_or(bare), "a.example");
            }
        }
    }
}
