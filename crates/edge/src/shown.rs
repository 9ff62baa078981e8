//! What visitors of exposures show to be let in. It is for the edge alone and goes no further; a
//! program's own keys and cookies do.

use crate::headers::API_KEY;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{request, Uri};
use wardian_wire::gateway::Refusal;
use wardian_wire::preview::{COOKIE, TICKET};
use wardian_wire::service_call::take_ticket;

/// What a visitor showed; none of it is left in the request.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) ticket: Option<String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) key: Option<HeaderValue>,
}

/// Takes it out of a request.
///
/// # Errors
/// The answer to give instead.
pub(crate) fn take(head: &mut request::Parts) -> Result<Shown, Refusal> {
    let mut shown = Shown::default();
    if let Some(query) = head.uri.query() {
        let (rest, ticket) = take_ticket(query, TICKET)
            .map_err(|_| Refusal::Invalid("send one ticket of at most 2048 bytes"))?;
        if ticket.is_some() {
            shown.ticket = ticket;
            let separator = if rest.is_empty() { "" } else { "?" };
            let target = format!("{}{separator}{rest}", head.uri.path());
            let target = PathAndQuery::try_from(target)
                .map_err(|_| Refusal::Invalid("the address can't be read"))?;
            head.uri = Uri::from(target);
        }
    }
    take_cookies(&mut head.headers, &mut shown.cookies);
    for name in [API_KEY, header::AUTHORIZATION] {
        let ours = |value: &HeaderValue| key_in(&name, value).is_some();
        let values = head.headers.get_all(&name);
        if let Some(value) = values.iter().find(|value| ours(value)) {
            shown.key = key_in(&name, value).or(shown.key);
            head.headers.remove(&name);
        }
    }
    Ok(shown)
}

/// The node's key in a header line; a server inside may ask for keys of its own.
fn key_in(name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?.trim();
    let text = if *name == API_KEY {
        text
    } else {
        let (scheme, rest) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(rest.trim())?
    };
    let digits = text.strip_prefix("e2b_")?;
    let ours = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    ours.then(|| HeaderValue::from_str(text).ok()).flatten()
}

fn take_cookies(headers: &mut HeaderMap, found: &mut Vec<String>) {
    let name = COOKIE.as_bytes();
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    let holds = |line: &HeaderValue| line.as_bytes().windows(name.len()).any(|part| part == name);
    if !lines.iter().any(holds) {
        return;
    }
    headers.remove(header::COOKIE);
    for line in lines {
        let mut kept: Vec<&[u8]> = Vec::new();
        for crumb in line.as_bytes().split(|byte| *byte == b';') {
            let crumb = crumb.trim_ascii();
            let value = crumb
                .strip_prefix(name)
                .and_then(|rest| rest.trim_ascii_start().strip_prefix(b"="));
            match value {
                Some(value) => found.push(String::from_utf8_lossy(value).trim().to_owned()),
                None if !crumb.is_empty() => kept.push(crumb),
                None => {}
            }
        }
        if let Ok(line) = HeaderValue::from_bytes(&kept.join(&b"; "[..])) {
            if !line.is_empty() {
                headers.append(header::COOKIE, line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(uri: &str, lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_what_is_the_nodes_is_taken() {
        let key = format!("e2b_{}", "5".repeat(40));
        let mut head = head(
            "/a?x=1&wardian_ticket=t&y",
            &[
                ("cookie", "a=1; wardian-preview=p; b=2"),
                ("cookie", "wardian-preview=q"),
                ("cookie", "wardian-preview-mine=3"),
                ("x-api-key", &key),
                ("authorization", "Bearer an.apps.own"),
            ],
        );
        let shown = take(&mut head).unwrap();
        assert_eq!(head.uri, "/a?x=1&y");
        assert_eq!(shown.ticket.as_deref(), Some("t"));
        assert_eq!(shown.cookies, ["p", "q"]);
        assert_eq!(shown.key.unwrap(), key);
        let kept: Vec<_> = head.headers.get_all("cookie").iter().collect();
        assert_eq!(kept, ["a=1; b=2", "wardian-preview-mine=3"]);
        assert!(!head.headers.contains_key("x-api-key"));
        assert_eq!(head.headers["authorization"], "Bearer an.apps.own");
    }

    #[test]
    fn a_key_is_known_by_its_form() {
        let key = format!("e2b_{}", "a".repeat(40));
        for (line, taken) in [
            (format!("Bearer {key}"), true),
            (format!("bearer  {key} "), true),
            (format!("Basic {key}"), false),
            (key.clone(), false),
            (format!("Bearer {key}0"), false),
            ("Bearer e2b_".to_owned(), false),
        ] {
            let mut head = head("/", &[("authorization", &line)]);
            assert_eq!(take(&mut head).unwrap().key.is_some(), taken, "{line}");
            assert_eq!(head.headers.contains_key("authorization"), !taken, "{line}");
        }
    }
}
