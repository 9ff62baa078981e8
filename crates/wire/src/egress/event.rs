//! What is told of each decision about an outbound connection or request.

use crate::SandboxId;
use serde::{Deserialize, Serialize};

/// One decision. Of an allowed connection or request it comes when that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub sandbox: SandboxId,
    /// Microseconds since 1970 when it began.
    pub time: u64,
    pub kind: Kind,
    pub verdict: Verdict,
    /// Name of the rule that decided.
    pub rule: Option<String>,
    /// Why, where it is not just that the rule says so.
    pub reason: Option<Reason>,
    /// The name that was asked for, else the address.
    pub host: String,
    pub port: u16,
    /// The address that was dialled in the end.
    pub address: Option<String>,
    pub method: Option<String>,
    /// Without its query; at most 1024 bytes.
    pub path: Option<String>,
    pub status: Option<u16>,
    /// Bytes from the sandbox and to it, of bodies for a request, of everything for a connection.
    pub sent: u64,
    pub received: u64,
    pub duration_us: u64,
    /// Names of the secrets used, or of the placeholders that went where they do not belong.
    pub secrets: Vec<String>,
    pub handler: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A question for a name that was refused.
    Name,
    /// A TCP connection that was refused, or passed without being opened.
    Connection,
    /// A request inside an opened or plain connection.
    Request,
    /// A packet of any other protocol; all are refused.
    Packet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allowed,
    Denied,
    /// Allowed, but it did not come about: no such name, no answer, bad certificate, handler failed.
    Failed,
    /// Allowed, and a placeholder went along to where it does not belong, as it is.
    Attempt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No rule matches.
    NoRule,
    /// The destination is private, loopback, link-local, metadata or otherwise not public.
    PrivateAddress,
    /// The address is of the synthetic range and stands for no name.
    UnknownAddress,
    /// SNI is missing or another than the name dialled.
    SniMismatch,
    /// Host or :authority is another than the name dialled, or there are several.
    HostMismatch,
    /// Encrypted Client Hello.
    EncryptedHello,
    /// What came is neither TLS nor HTTP, and the rule must see inside.
    NotHttp,
    /// The request could be read in two ways.
    Malformed,
    /// A head, name or count above the limits.
    TooLarge,
    /// CONNECT, TRACE, or an upgrade that is not let through.
    Tunnel,
    /// The name asked for is no host name.
    InvalidName,
    /// This type of question has no answer here.
    QueryType,
    /// UDP, ICMP, IPv6 or another protocol that does not pass; the host is the address.
    Protocol,
    /// The name does not exist or could not be resolved.
    Unresolved,
    /// The other side did not accept the connection.
    Unreachable,
    /// The certificate of the other side is not valid for the name.
    Certificate,
    /// The other side broke off or spoke no HTTP.
    Upstream,
    /// The handler failed, was late or is not there.
    Handler,
    /// A credential could not be put in or its answer not be masked.
    Credential,
    /// More connections at once than a sandbox may have.
    TooMany,
    /// A time limit.
    Timeout,
}

/// Bytes that went by since the last report, of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    pub sandbox: SandboxId,
    pub sent: u64,
    pub received: u64,
}
