//! The node's configuration, `node.json`: written by set-up, read by supervisor, launcher and
//! control plane. It holds no secret. docs/node-protocols.md shows an example.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// All of `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Everything that stays.
    pub home: PathBuf,
    /// Everything that a reboot takes away.
    pub run: PathBuf,
    /// Tells several nodes on one machine apart: 8 hexadecimal digits.
    pub instance: String,
    /// Address and port of the public listener.
    pub listen: String,
    /// Sandboxes are reached at `{port}-{id}.<domain>`.
    pub domain: String,
    pub tls: Option<Tls>,
    /// Addresses of proxies in front whose `X-Forwarded-*` are believed.
    #[serde(default)]
    pub trusted_proxies: Vec<IpAddr>,
    pub control_uid: u32,
    pub edge_uid: u32,
    pub gid: u32,
    pub binaries: Binaries,
    /// How the control plane is started.
    pub control_command: Vec<String>,
    pub pool: Pool,
    /// First uid of slot 0; each slot has 65,536.
    pub uid_base: u32,
    pub uid_slots: u32,
    /// How many processes wait in ready cgroups.
    pub parked: u32,
    /// PEM files of the certificates that upstream servers are verified against.
    #[serde(default)]
    pub trust: Vec<PathBuf>,
    /// The file of what the key of secrets is wrapped under.
    #[serde(default)]
    pub passphrase: Option<PathBuf>,
    #[serde(default)]
    pub packages: Packages,
    /// The operator's egress handlers; `None`: there are none, and rules that name one fail.
    #[serde(default)]
    pub handlers: Option<Handlers>,
}

impl Node {
    /// Where the edge finds the handlers' process.
    #[must_use]
    pub fn handlers_socket(&self) -> PathBuf {
        self.run.join("handlers/handlers.sock")
    }
}

/// The process of the operator's egress handlers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handlers {
    /// How it is started.
    pub command: Vec<String>,
    /// The directory of its files.
    pub path: PathBuf,
    /// Whom it runs as; the group is its own.
    pub uid: u32,
    pub gid: u32,
}

/// Where the node's own clients fetch packages from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// PEM files of the public listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Where the programs lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binaries {
    pub agent: PathBuf,
    pub edge: PathBuf,
    pub launcher: PathBuf,
}

/// The file system that holds layers and disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub path: PathBuf,
    pub kind: PoolKind,
    /// A loop file to mount at `path`; `None` where `path` is good as it is.
    pub image: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    Btrfs,
    Plain,
}
