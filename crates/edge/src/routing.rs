//! Where a request goes, from its head alone. Nothing here waits or looks anything up.

use crate::headers::{E2B_SANDBOX_ID, E2B_SANDBOX_PORT, WARDIAN_SANDBOX_ID, WARDIAN_SANDBOX_PORT};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{request, Method};
use wardian_wire::boot::AGENT_PORT;
use wardian_wire::gateway::Refusal;
use wardian_wire::host::{parse_host, parse_port, Domain, Host};
use wardian_wire::percent;
use wardian_wire::preview::PreviewRefusal;
use wardian_wire::service_call::ServiceCall;
use wardian_wire::SandboxId;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    ControlPlane,
    /// A sandbox's agent, once the control plane has allowed it.
    Service(ServiceCall),
    Sandbox {
        id: SandboxId,
        port: u16,
    },
    Exposure {
        id: SandboxId,
        port: u16,
        token: String,
    },
}

/// A request that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) target: Target,
    /// The one host that the request names.
    pub(crate) host: HeaderValue,
}

/// The most bytes of header lines.
const MAX_HEADERS: usize = 64 * 1024;
/// Paths of the agent that only the launcher's side of a node may call.
const AGENT_INTERNAL: [&str; 3] = ["init", "freeze", "upgrade"];
/// Paths of the control plane that only the edge may call.
const CONTROL_INTERNAL: [&str; 1] = ["internal"];

/// Decides where the request with this head goes.
///
/// # Errors
/// The answer to give instead.
pub(crate) fn route(head: &request::Parts, domain: &Domain) -> Result<Routed, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::ConnectRefused);
    }
    if crate::headers::size(&head.headers) > MAX_HEADERS {
        return Err(Refusal::HeadersTooLarge);
    }
    refuse_ambiguous_framing(&head.headers)?;
    let host = single_host(head)?;
    let text = host.to_str().map_err(|_| BAD_HOST)?;
    let target = match parse_host(text, domain).map_err(|_| BAD_HOST)? {
        Host::Port { sandbox, port } => Target::Sandbox { id: sandbox, port },
        // The agent's port has no such address.
        Host::Exposure { port, .. } if port == AGENT_PORT => {
            return Err(Refusal::Preview(PreviewRefusal::NotFound))
        }
        Host::Exposure {
            sandbox,
            port,
            token,
        } => Target::Exposure {
            id: sandbox,
            port,
            token,
        },
        Host::Node => named_sandbox(&head.headers)?.unwrap_or(Target::ControlPlane),
        Host::Sandboxes => named_sandbox(&head.headers)?.ok_or(Refusal::Misdirected)?,
        Host::Api if names_sandbox(&head.headers) => return Err(Refusal::Misdirected),
        Host::Api => Target::ControlPlane,
        Host::Other => return Err(Refusal::Misdirected),
    };
    let path = head.uri.path();
    let internal: &[&str] = match target {
        Target::Sandbox { port, .. } if port == AGENT_PORT => &AGENT_INTERNAL,
        Target::ControlPlane => &CONTROL_INTERNAL,
        _ => &[],
    };
    if begins_with_any(path, internal) {
        return Err(Refusal::Internal);
    }
    let target = match target {
        Target::ControlPlane => ServiceCall::parse(path)
            .map_err(|_| AMBIGUOUS_PATH)?
            .map_or(Target::ControlPlane, Target::Service),
        target => target,
    };
    Ok(Routed { target, host })
}

const AMBIGUOUS_PATH: Refusal = Refusal::Invalid(
    "the path holds an empty or dot segment, an encoded slash or a control character",
);

const BAD_HOST: Refusal = Refusal::Invalid("the Host is not a name or an address");

/// Two readers must not be able to see two lengths in one message.
fn refuse_ambiguous_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    if lengths + codings > 1 {
        return Err(Refusal::Invalid(
            "send one Content-Length or one Transfer-Encoding, not more",
        ));
    }
    Ok(())
}

/// The host, where `Host` and the request target (absolute form, or `:authority`) agree on one.
fn single_host(head: &request::Parts) -> Result<HeaderValue, Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Invalid("send one Host, not more"));
    }
    let Some(authority) = head.uri.authority() else {
        return host.cloned().ok_or(Refusal::Invalid("send a Host"));
    };
    let agrees = host.is_none_or(|host| {
        host.as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    });
    if !agrees {
        return Err(Refusal::Invalid("Host and the request's address differ"));
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| BAD_HOST)
}

fn names_sandbox(headers: &HeaderMap) -> bool {
    [
        WARDIAN_SANDBOX_ID,
        WARDIAN_SANDBOX_PORT,
        E2B_SANDBOX_ID,
        E2B_SANDBOX_PORT,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// The sandbox that header lines name, if any do.
fn named_sandbox(headers: &HeaderMap) -> Result<Option<Target>, Refusal> {
    let native = header_pair(headers, &WARDIAN_SANDBOX_ID, &WARDIAN_SANDBOX_PORT)?;
    let e2b = header_pair(headers, &E2B_SANDBOX_ID, &E2B_SANDBOX_PORT)?;
    match (native, e2b) {
        (Some(one), Some(other)) if one != other => Err(Refusal::Invalid(
            "Wardian-Sandbox-* and E2b-Sandbox-* name different sandboxes",
        )),
        (one, other) => Ok(one.or(other)),
    }
}

fn header_pair(
    headers: &HeaderMap,
    id: &HeaderName,
    port: &HeaderName,
) -> Result<Option<Target>, Refusal> {
    let (id, port) = (single_text(headers, id)?, single_text(headers, port)?);
    let Some(id) = id else {
        return match port {
            Some(_) => Err(Refusal::Invalid("a sandbox port came without a sandbox id")),
            None => Ok(None),
        };
    };
    let port = match port {
        None => AGENT_PORT,
        Some(text) => parse_port(text).ok_or(Refusal::Invalid(
            "the sandbox port is not a number from 1 to 65535",
        ))?,
    };
    // What can't be an id is no sandbox: callers rely on the same answer as for one that ended.
    let id = SandboxId::parse(id).map_err(|_| Refusal::Gone {
        sandbox: id.chars().take(64).collect(),
    })?;
    Ok(Some(Target::Sandbox { id, port }))
}

fn single_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    const BAD: Refusal = Refusal::Invalid("send each routing header once, as plain text");
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(BAD);
    }
    first
        .map(|value| value.to_str().map_err(|_| BAD))
        .transpose()
}

/// Whether a path may begin with one of `names` to any reader: percent-encoded, with doubled
/// slashes, dots, or in other case.
fn begins_with_any(path: &str, names: &[&str]) -> bool {
    let decoded = String::from_utf8_lossy(&percent::decoded(path)).into_owned();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments
        .first()
        .is_some_and(|first| names.iter().any(|name| first.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
