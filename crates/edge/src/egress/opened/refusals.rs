//! What a sandbox is told, over HTTP, of a request that did not come about.

use super::body::{whole, Body};
use super::checks::{Violation, WARDIAN_EGRESS};
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::json;
use wardian_wire::egress::destination::Destination;
use wardian_wire::egress::event::Reason;

/// Why a request did not come about.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It can't be read in one way only, or is for another host.
    Violates(Violation),
    /// A rule says so, or none says anything else. Holds the rule's name.
    Denied(Option<String>),
    /// It was allowed.
    Failed { reason: Reason, message: String },
}

impl Refusal {
    pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Failed { reason, message }
    }

    /// Whether it was not allowed. That a name resolves only to addresses that nobody granted is
    /// found out late, and is a denial all the same.
    pub(super) fn is_denial(&self) -> bool {
        match self {
            Self::Violates(_) | Self::Denied(_) => true,
            Self::Failed { reason, .. } => *reason == Reason::PrivateAddress,
        }
    }

    /// What a handler is told in place of an answer.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Violates(violation) => violation.message,
            Self::Denied(_) => "it is denied",
            Self::Failed { message, .. } => message,
        }
    }

    /// The answer.
    pub(super) fn answer(
        &self,
        sandbox: &str,
        to: &Destination,
        method: &Method,
        path: &str,
    ) -> Response<Body> {
        let (status, code, verdict) = match self {
            _ if self.is_denial() => (StatusCode::FORBIDDEN, "egress_denied", "denied"),
            _ => (StatusCode::BAD_GATEWAY, "egress_failed", "failed"),
        };
        let error = json!({"error": {
            "code": code,
            "message": self.message(to, method, path),
            "hint": self.hint(sandbox, to, method, path),
        }});
        let mut response = Response::new(whole(error.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(WARDIAN_EGRESS, HeaderValue::from_static(verdict));
        let kind = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn message(&self, to: &Destination, method: &Method, path: &str) -> String {
        match self {
            Self::Violates(violation) => {
                format!("the request to {to} is not let out: {}", violation.message)
            }
            Self::Denied(Some(rule)) => {
                format!("{method} {path} at {to} is denied by the egress rule {rule:?}")
            }
            Self::Denied(None) => format!("no egress rule allows {method} {path} at {to}"),
            Self::Failed { message, .. } => format!("{to} was not reached: {message}"),
        }
    }

    fn hint(&self, sandbox: &str, to: &Destination, method: &Method, path: &str) -> String {
        match self {
            Self::Violates(_) => format!(
                "send one Host line that names {to}, one length, and no upgrade but to websocket"
            ),
            Self::Denied(_) => {
                let mut command = format!("wardian egress allow {sandbox} {to}");
                // People copy this into a shell, and the sandbox chose these words.
                for (option, word) in [("--method", method.as_str()), ("--path", path)] {
                    if is_harmless(word) {
                        command.push_str(&format!(" {option} {word}"));
                    }
                }
                format!("whoever runs this sandbox can allow it: {command} --first")
            }
            Self::Failed { reason, .. } => match reason {
                Reason::Certificate => {
                    "if the server is to be trusted all the same, the node must trust whoever \
                     signed its certificate (wardian serve --trust)"
                }
                Reason::PrivateAddress => "private addresses need a rule with cidrs or connect_to",
                Reason::Handler => "look at the log of the node's egress handlers",
                Reason::Credential => "look at the rule's injections and whether it redacts",
                _ => "try again, or check that the server is up and speaks HTTP at this port",
            }
            .to_owned(),
        }
    }
}

/// Whether a shell takes a word for nothing but itself.
fn is_harmless(word: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._%+=:@,".contains(&b);
    !word.is_empty() && word.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_holds_nothing_that_a_shell_would_run() {
        let to = Destination::parse("a.example:443").unwrap();
        let hint = |method: &str, path| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Refusal::Denied(None).hint("box", &to, &method, path)
        };
        let whole = "wardian egress allow box a.example:443 --method GET --path /v1/x --first";
        assert!(hint("GET", "/v1/x").ends_with(whole));
        let bare = "wardian egress allow box a.example:443 --first";
        for path in ["/';id;'", "/$(id)", "/`id`", "/a|b", "/a&b", "/*", ""] {
            assert!(hint("G`id`T", path).ends_with(bare), "{path}");
        }
    }
}
