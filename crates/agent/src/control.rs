//! /metrics and /init: what the node asks of the agent itself.

use crate::agent::{Agent, Changes};
use crate::http::reply::{self, Reply};
use crate::http::{request, router};
use crate::trust;
use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wardian_wire::token;

/// The version of E2B's `envd` whose protocol this agent speaks.
pub(crate) const ENVD_VERSION: &str = "0.6.13";
/// The most the body of /init may have, in bytes.
const MAX_INIT: usize = 4 * 1024 * 1024;
/// How long CPU use is measured for.
const SAMPLE: Duration = Duration::from_millis(100);
const MIB: u64 = 1024 * 1024;

#[derive(Serialize)]
struct Metrics {
    ts: u64,
    cpu_count: u32,
    cpu_used_pct: f64,
    mem_total: u64,
    mem_used: u64,
    mem_cache: u64,
    mem_total_mib: u64,
    mem_used_mib: u64,
    disk_used: u64,
    disk_total: u64,
}

/// What the sandbox uses, as far as it can be seen from inside. The sandbox's cgroup is not
/// visible here: CPU and memory are the sums over its processes, so memory shared between them
/// counts more than once; the node's own measurement is exact.
pub(crate) async fn metrics(agent: &Agent) -> Reply {
    let (memory, cpu_millis, disk) = agent.limits();
    let before = usage();
    tokio::time::sleep(SAMPLE).await;
    let after = usage();
    let allowed = SAMPLE.as_secs_f64() * f64::from(cpu_millis.max(1)) / 1000.0;
    let used = (after.cpu_seconds - before.cpu_seconds).max(0.0);
    let disk_used = rustix::fs::statvfs("/").map_or(0, |s| {
        s.f_blocks
            .saturating_sub(s.f_bfree)
            .saturating_mul(s.f_frsize)
    });
    let mem_used = after.memory_bytes.min(memory);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    reply::json(
        StatusCode::OK,
        &Metrics {
            ts: now.unwrap_or_default().as_secs(),
            cpu_count: cpu_millis.div_ceil(1000).max(1),
            cpu_used_pct: (used / allowed * 10_000.0).round().min(10_000.0) / 100.0,
            mem_total: memory,
            mem_used,
            mem_cache: 0,
            mem_total_mib: memory / MIB,
            mem_used_mib: mem_used / MIB,
            disk_used: disk_used.min(disk),
            disk_total: disk,
        },
    )
}

struct Usage {
    cpu_seconds: f64,
    memory_bytes: u64,
}

/// Sums up what all processes of the sandbox have used and hold.
fn usage() -> Usage {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let mut usage = Usage {
        cpu_seconds: 0.0,
        memory_bytes: 0,
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // A process that has just ended is not counted.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        if let Some((cpu, resident)) = stat_usage(&stat) {
            usage.cpu_seconds += cpu as f64 / ticks;
            usage.memory_bytes += resident * page;
        }
    }
    usage
}

/// Clock ticks (own and of reaped children) and resident pages in a line of /proc/*/stat.
fn stat_usage(stat: &[u8]) -> Option<(u64, u64)> {
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
    let cpu = (11..15).map(|i| number(i).unwrap_or(0)).sum();
    Some((cpu, number(21)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Init {
    access_token: Option<String>,
    /// Merged into what is there; null takes a variable away.
    env_vars: Option<BTreeMap<String, Option<String>>>,
    default_user: Option<String>,
    default_workdir: Option<String>,
    /// The sandbox's clock is the node's; the hint is checked and otherwise needs nothing.
    timestamp: Option<String>,
    volume_mounts: Option<Vec<serde::de::IgnoredAny>>,
    ca_bundle: Option<String>,
}

/// Takes over settings. Guarded by the token the agent has, which may come as header or as the
/// body's own; an agent without a token takes its first from here.
pub(crate) async fn init(agent: &Agent, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let bytes = match request::whole(body, MAX_INIT).await {
        Ok(bytes) => bytes,
        Err(failure) => return reply::rest_error(StatusCode::BAD_REQUEST, &failure.message),
    };
    let refuse = |message: &str| reply::rest_error(StatusCode::BAD_REQUEST, message);
    let parsed = if bytes.is_empty() {
        Ok(Init::default())
    } else {
        serde_json::from_slice::<Init>(&bytes)
    };
    let Ok(init) = parsed else {
        // Without the parser's words, which could quote a token.
        return refuse("the body is not the JSON of an init request");
    };
    let by_body = match (agent.access_token(), &init.access_token) {
        (Some(known), Some(given)) => token::same(known.as_bytes(), given.as_bytes()),
        _ => false,
    };
    if !by_body && !agent.admits(router::token(&head.headers)) {
        return reply::rest_error(StatusCode::UNAUTHORIZED, "access token missing or wrong");
    }
    if init.volume_mounts.is_some_and(|mounts| !mounts.is_empty()) {
        return refuse("volumeMounts: this agent mounts no volumes");
    }
    if init.timestamp.is_some_and(|t| !t.contains('T')) {
        return refuse("timestamp is not RFC 3339");
    }
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let changes = Changes {
        access_token: given(init.access_token),
        env: init.env_vars,
        default_user: given(init.default_user),
        default_workdir: given(init.default_workdir),
    };
    if let Some(user) = &changes.default_user {
        if let Err(error) = crate::users::lookup(user) {
            return refuse(&error.to_string());
        }
    }
    if changes
        .default_workdir
        .as_ref()
        .is_some_and(|w| !w.starts_with('/'))
    {
        return refuse("defaultWorkdir is not an absolute path");
    }
    if let Some(bundle) = given(init.ca_bundle) {
        if let Err(error) = trust(agent, bundle).await {
            return refuse(&format!("caBundle: {error}"));
        }
    }
    agent.change(changes);
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    let name = HeaderName::from_static("x-envd-version");
    reply
        .headers_mut()
        .insert(name, HeaderValue::from_static(ENVD_VERSION));
    reply
}

/// Trusts the certificates of `bundle`, PEM; writing them takes a thread of its own.
async fn trust(agent: &Agent, bundle: String) -> Result<(), String> {
    if !agent.may_trust() {
        return Err("this agent is in no sandbox, and installs no certificates".to_owned());
    }
    let java_home = agent.env().remove("JAVA_HOME");
    let install = move || trust::install(Path::new("/"), &bundle, java_home.as_deref());
    let installed = tokio::task::spawn_blocking(install).await;
    let variables = installed.map_err(|_| "could not be installed".to_owned())?;
    agent.trust(variables.map_err(|error| error.to_string())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::stat_usage;

    #[test]
    fn usage_is_read_past_any_name() {
        let stat = b"5 (a ) 1) S 1 5 5 0 -1 0 0 0 0 0 7 8 1 2 20 0 1 0 100 4096 33 0 0";
        assert_eq!(stat_usage(stat), Some((18, 33)));
        assert_eq!(stat_usage(b"5 (a"), None);
    }
}
