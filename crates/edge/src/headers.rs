//! Which header lines cross the edge, and which end here.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

pub(crate) const WARDIAN_SANDBOX_ID: HeaderName = HeaderName::from_static("wardian-sandbox-id");
pub(crate) const WARDIAN_SANDBOX_PORT: HeaderName = HeaderName::from_static("wardian-sandbox-port");
pub(crate) const E2B_SANDBOX_ID: HeaderName = HeaderName::from_static("e2b-sandbox-id");
pub(crate) const E2B_SANDBOX_PORT: HeaderName = HeaderName::from_static("e2b-sandbox-port");
pub(crate) const WARDIAN_TRAFFIC_TOKEN: HeaderName =
    HeaderName::from_static("wardian-traffic-token");
pub(crate) const E2B_TRAFFIC_TOKEN: HeaderName =
    HeaderName::from_static("e2b-traffic-access-token");

pub(crate) const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a caller shows to the node and no sandbox may see.
const CREDENTIALS: [HeaderName; 4] = [header::AUTHORIZATION, API_KEY, header::COOKIE, ACCESS_TOKEN];
/// Header lines by which an answer could rule the address it comes from: cookies and storage of
/// the node's own address are none of a sandbox's business.
const SITE_WIDE: [HeaderName; 6] = [
    header::SET_COOKIE,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
    header::STRICT_TRANSPORT_SECURITY,
    header::ALT_SVC,
    header::REFRESH,
];

/// Header lines that choose a sandbox or open its ports; they are between caller and edge.
const ROUTING: [HeaderName; 6] = [
    WARDIAN_SANDBOX_ID,
    WARDIAN_SANDBOX_PORT,
    E2B_SANDBOX_ID,
    E2B_SANDBOX_PORT,
    WARDIAN_TRAFFIC_TOKEN,
    E2B_TRAFFIC_TOKEN,
];

/// Header lines about one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the edge knows of the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

impl Caller {
    /// Whom a trusted proxy in front says it speaks for; whoever else says so is not heard.
    pub(crate) fn seen_through(self, trusted: &[IpAddr], headers: &HeaderMap) -> Self {
        if !trusted.contains(&self.address.to_canonical()) {
            return self;
        }
        // Only the last word is the proxy's own: what stands before it, a caller may have sent.
        let last = |name: &str| {
            let value = headers.get_all(name).iter().next_back()?;
            Some(value.to_str().ok()?.rsplit(',').next()?.trim())
        };
        let address = last("x-forwarded-for").and_then(|text| text.parse().ok());
        let tls = last("x-forwarded-proto").map(|text| text.eq_ignore_ascii_case("https"));
        Self {
            address: address.unwrap_or(self.address),
            tls: tls.unwrap_or(self.tls),
        }
    }
}

/// The protocol that a request asks to change to, if it may: HTTP/2 over an upgrade is not
/// offered, for inside it requests could go by that nobody here has looked at.
pub(crate) fn requested_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next().filter(|_| asked)?;
    let alone = protocols.next().is_none();
    let text = protocol.to_str().ok()?.to_ascii_lowercase();
    let http = text
        .split(',')
        .any(|one| one.trim() == "h2c" || one.trim().starts_with("http/"));
    (alone && !http).then(|| protocol.clone())
}

/// Removes what belongs to the connection the message came on, also what `Connection` names.
/// `TE: trailers` survives: whether trailers are wanted holds for the whole way.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| HeaderName::try_from(option).ok())
        // Framing and addressing are decided here and never by what a peer declares removable.
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH))
        .collect();
    let trailers = headers.get_all(header::TE).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|one| one.trim() == "trailers"))
    });
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what chose the sandbox.
pub(crate) fn remove_routing(headers: &mut HeaderMap) {
    for name in &ROUTING {
        headers.remove(name);
    }
}

/// Removes whatever the caller has shown to be let in.
pub(crate) fn remove_credentials(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        headers.remove(name);
    }
}

/// Makes an answer of a sandbox harmless at the node's own address: what it holds is data, never
/// a page or a script that could act as the node.
pub(crate) fn confine(headers: &mut HeaderMap) {
    for name in &SITE_WIDE {
        headers.remove(name);
    }
    let (policy, kind) = ("default-src 'none'; sandbox", "nosniff");
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static(kind),
    );
}

/// Keeps the cookies that a server sets to its own address: one for the whole domain would reach
/// every other preview of this node.
pub(crate) fn keep_cookies_home(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .cloned()
        .collect();
    let names_domain = |part: &&[u8]| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or(part);
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let parts = |line: &HeaderValue| -> Vec<Vec<u8>> {
        let all = line.as_bytes().split(|byte| *byte == b';');
        let kept = all
            .enumerate()
            .filter(|(at, part)| *at == 0 || !names_domain(part));
        kept.map(|(_, part)| part.to_vec()).collect()
    };
    headers.remove(header::SET_COOKIE);
    for line in lines {
        if let Ok(line) = HeaderValue::from_bytes(&parts(&line).join(&b';')) {
            headers.append(header::SET_COOKIE, line);
        }
    }
}

/// Says who called, in place of whatever the caller claimed.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, caller: Caller, host: &HeaderValue) {
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
        })
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
    if let Ok(address) = HeaderValue::from_str(&caller.address.to_canonical().to_string()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), address);
    }
    let scheme = if caller.tls { "https" } else { "http" };
    headers.insert(
        HeaderName::from_static("x-forwarded-proto"),
        HeaderValue::from_static(scheme),
    );
    headers.insert(HeaderName::from_static("x-forwarded-host"), host.clone());
}

/// HTTP/2 may cut `Cookie` into several lines; HTTP/1.1 knows one.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// How many bytes the header lines took, about.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_connection_names_goes_but_not_the_framing() {
        let mut headers = map(&[
            ("connection", "close, x-mine, host, content-length"),
            ("x-mine", "1"),
            ("host", "a"),
            ("content-length", "3"),
            ("te", "gzip, trailers"),
            ("keep-alive", "timeout=5"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        let left = map(&[
            ("host", "a"),
            ("content-length", "3"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        assert_eq!(headers, left);
    }

    #[test]
    fn the_caller_cannot_say_who_it_is() {
        let mut headers = map(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
        ]);
        let caller = Caller {
            address: "::ffff:10.1.2.3".parse().unwrap(),
            tls: true,
        };
        set_forwarded(&mut headers, caller, &HeaderValue::from_static("h:1"));
        let left = map(&[
            ("x-forwarded-for", "10.1.2.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "h:1"),
        ]);
        assert_eq!(headers, left);
    }

    #[test]
    fn a_cookie_stays_where_it_was_set() {
        let mut headers = map(&[
            (
                "set-cookie",
                "domain=x; Path=/; DOMAIN=.localhost;domain; HttpOnly",
            ),
            ("etag", "1"),
        ]);
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
        keep_cookies_home(&mut headers);
        let kept: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(kept, ["domain=x; Path=/; HttpOnly", "b=2"]);
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        let headers = map(&[
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-proto", "https"),
        ]);
        let caller = |address: &str| Caller {
            address: address.parse().unwrap(),
            tls: false,
        };
        let trusted = ["127.0.0.1".parse().unwrap()];
        let seen = |from: &str, headers: &HeaderMap| {
            let seen = caller(from).seen_through(&trusted, headers);
            (seen.address.to_string(), seen.tls)
        };
        let (there, none) = (("1.2.3.4".to_owned(), true), HeaderMap::new());
        assert_eq!(seen("127.0.0.1", &headers), there);
        assert_eq!(seen("::ffff:127.0.0.1", &headers), there);
        assert_eq!(seen("10.0.0.1", &headers), ("10.0.0.1".to_owned(), false));
        assert_eq!(seen("127.0.0.1", &none), ("127.0.0.1".to_owned(), false));
        let odd = map(&[("x-forwarded-for", "unknown"), ("x-forwarded-proto", "x")]);
        assert_eq!(seen("127.0.0.1", &odd), ("127.0.0.1".to_owned(), false));
    }

    #[test]
    fn http_inside_an_upgrade_is_not_offered() {
        let asks = |protocol| {
            requested_upgrade(&map(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", protocol),
            ]))
        };
        assert!(asks("websocket").is_some());
        assert!(asks("h2c").is_none());
        assert!(asks("websocket, H2C").is_none());
        assert!(asks("HTTP/2.0").is_none());
        assert!(requested_upgrade(&map(&[("upgrade", "websocket")])).is_none());
    }
}
