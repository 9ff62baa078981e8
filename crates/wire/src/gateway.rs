//! The edge's own answers. Clients read the message texts, so these are protocol.

use crate::page::Page;
use crate::preview::PreviewRefusal;
use serde::Serialize;

/// Why the edge answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sandbox never was, has ended, or is paused. `sandbox` is what the caller named.
    Gone { sandbox: String },
    /// Nothing listens on the port.
    PortClosed { sandbox: String, port: u16 },
    /// The port took the request and closed before it answered.
    Broken { sandbox: String, port: u16 },
    /// The traffic token is missing or wrong.
    Forbidden { sandbox: String },
    /// A service of a sandbox was asked for, and the sandbox ended or was paused meanwhile.
    NotRunning { sandbox: String },
    /// An exposure is not shown.
    Preview(PreviewRefusal),
    /// A path that only the node itself may call.
    Internal,
    /// The `Host` is none of this node's.
    Misdirected,
    /// The request can't be routed safely. Holds what is wrong, in words.
    Invalid(&'static str),
    /// CONNECT.
    ConnectRefused,
    /// Header lines above the limit.
    HeadersTooLarge,
    /// Control plane or launcher not there, or routes not yet known. Holds which, in words.
    Unavailable(&'static str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SandboxBody<'a> {
    sandbox_id: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    code: u16,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: &'a str,
    message: &'a str,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Gone { .. } | Self::PortClosed { .. } | Self::Broken { .. } => 502,
            Self::Forbidden { .. } => 403,
            Self::Internal => 404,
            Self::NotRunning { .. } => 409,
            Self::Preview(refusal) => refusal.status(),
            Self::Misdirected => 421,
            Self::Invalid(_) => 400,
            Self::ConnectRefused => 405,
            Self::HeadersTooLarge => 431,
            Self::Unavailable(_) => 503,
        }
    }

    /// The same in the terms of the native API, for a call of a sandbox's service.
    #[must_use]
    pub fn native(self) -> Self {
        match self {
            Self::Gone { sandbox } => Self::NotRunning { sandbox },
            Self::PortClosed { .. } | Self::Broken { .. } => {
                Self::Unavailable("the sandbox's agent closed the connection before it answered")
            }
            other => other,
        }
    }

    /// What went wrong, in one sentence.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "The sandbox was not found",
            Self::PortClosed { .. } => "The sandbox is running but port is not open",
            Self::Broken { .. } => "The sandbox closed the connection before it answered",
            Self::Forbidden { .. } => "The traffic token is missing or wrong",
            Self::NotRunning { .. } => "the sandbox has ended or is paused",
            Self::Preview(refusal) => refusal.message(),
            Self::Internal => "no such path",
            Self::Misdirected => "this host is not served here; use the node's address, its domain, or {port}-{sandbox id}.<domain>",
            Self::ConnectRefused => "CONNECT is not served; open a WebSocket or an Upgrade instead",
            Self::HeadersTooLarge => "the header lines are longer than 64 KiB",
            Self::Invalid(text) | Self::Unavailable(text) => text,
        }
    }

    /// The body for programs, JSON.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let about = |sandbox: &str, port| {
            SandboxBody {
                sandbox_id: sandbox,
                message: self.message(),
                port,
                code: self.status(),
            }
            .to_json()
        };
        match self {
            Self::Gone { sandbox } | Self::Forbidden { sandbox } => about(sandbox, None),
            Self::PortClosed { sandbox, port } | Self::Broken { sandbox, port } => {
                about(sandbox, Some(*port))
            }
            Self::NotRunning { .. } => self.error("sandbox_not_running"),
            Self::Preview(refusal) => self.error(refusal.code()),
            Self::Internal => self.error("not_found"),
            Self::Misdirected => self.error("misdirected"),
            Self::Invalid(_) => self.error("invalid_request"),
            Self::ConnectRefused => self.error("unsupported"),
            Self::HeadersTooLarge => self.error("too_large"),
            Self::Unavailable(_) => self.error("unavailable"),
        }
    }

    fn error(&self, code: &str) -> Vec<u8> {
        let message = self.message();
        let body = ErrorBody {
            error: ErrorFields { code, message },
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The body for people, an HTML page that loads nothing from elsewhere.
    #[must_use]
    pub fn html(&self) -> String {
        let (title, advice) = self.words();
        let subject = match self {
            Self::PortClosed { sandbox, port } | Self::Broken { sandbox, port } => {
                format!("sandbox {sandbox}, port {port}")
            }
            Self::Gone { sandbox } | Self::Forbidden { sandbox } | Self::NotRunning { sandbox } => {
                format!("sandbox {sandbox}")
            }
            Self::Preview(refusal) => refusal
                .port()
                .map_or(String::new(), |port| format!("port {port}")),
            _ => String::new(),
        };
        let page = Page {
            status: self.status(),
            title,
            subject: &subject,
            advice,
            again: self.again(),
        };
        page.html()
    }

    /// Seconds after which trying again may help.
    #[must_use]
    pub fn again(&self) -> Option<u8> {
        match self {
            Self::Unavailable(_) => Some(2),
            Self::Preview(refusal) => refusal.again(),
            _ => None,
        }
    }

    fn words(&self) -> (&'static str, &'static str) {
        let advice = match self {
            Self::Gone { .. } => "It has ended, is paused, or never existed. Start or resume it, then load this page again.",
            Self::PortClosed { .. } => "The sandbox is running, but nothing in it listens on this port. Start the server on 0.0.0.0, then load this page again.",
            Self::Broken { .. } => "The program on this port closed the connection before it answered. Its log in the sandbox says why.",
            Self::Forbidden { .. } => "This sandbox takes only requests that bring its traffic token in the header Wardian-Traffic-Token.",
            other => other.message(),
        };
        let title = match self {
            Self::Gone { .. } => "Sandbox not found",
            Self::NotRunning { .. } => "Sandbox not running",
            Self::Preview(refusal) => refusal.title(),
            Self::PortClosed { .. } => "Port not open",
            Self::Broken { .. } => "No answer",
            Self::Forbidden { .. } => "Not allowed",
            Self::Internal => "Not found",
            Self::Misdirected => "Not served here",
            Self::Unavailable(_) => "Starting",
            Self::Invalid(_) | Self::ConnectRefused | Self::HeadersTooLarge => "Request refused",
        };
        (title, advice)
    }
}

impl SandboxBody<'_> {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bodies_clients_read() {
        let gone = Refusal::Gone {
            sandbox: "x".into(),
        };
        assert_eq!(
            String::from_utf8(gone.json()).unwrap(),
            r#"{"sandboxId":"x","message":"The sandbox was not found","code":502}"#
        );
        let closed = Refusal::PortClosed {
            sandbox: "x".into(),
            port: 80,
        };
        assert_eq!(
            String::from_utf8(closed.json()).unwrap(),
            r#"{"sandboxId":"x","message":"The sandbox is running but port is not open","port":80,"code":502}"#
        );
        let absent = Refusal::Unavailable("the control plane is not there");
        assert_eq!(
            String::from_utf8(absent.json()).unwrap(),
            r#"{"error":{"code":"unavailable","message":"the control plane is not there"}}"#
        );
    }

    proptest! {
        #[test]
        fn a_name_never_becomes_markup(sandbox in "\\PC{0,40}") {
            let page = Refusal::Gone { sandbox }.html();
            let inner = page.split("<code>").nth(1).unwrap().split("</code>").next().unwrap();
            prop_assert!(!inner.contains(['<', '>', '"', '\'']));
        }
    }
}
