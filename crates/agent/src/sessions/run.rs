//! `/v1/run`: one command, from request to result, in a session or by itself.

use super::service::{bytes, invalid, problem};
use super::{bash, command, Subscription};
use crate::agent::Agent;
use crate::http::native::{self, Problem};
use crate::http::reply::{self, Reply};
use crate::http::sse;
use crate::process::start;
use base64::{engine::general_purpose::STANDARD, Engine};
use http::{header, HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use wardian_wire::connect::{Code, Failure, HEADER};
use wardian_wire::envd::process::{signal_of, Input, ProcessConfig, StartRequest};
use wardian_wire::session::quote;

/// How much of each output an answer in one piece holds, in bytes.
const MAX_OUTPUT: usize = 1024 * 1024;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Run {
    command: Option<String>,
    argv: Option<Vec<String>>,
    cwd: Option<String>,
    env: BTreeMap<String, String>,
    user: Option<String>,
    session: Option<String>,
    /// In seconds.
    timeout: Option<f64>,
    stdin: Option<String>,
    stdin_b64: Option<String>,
}

/// Runs what the request says. A caller that leaves does not stop it.
///
/// # Errors
/// [`Problem`].
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    if !rest.is_empty() {
        let message = format!("there is no run/{rest}");
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", message));
    }
    if request.method() != Method::POST {
        let message = "run is asked for with POST";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Problem::new(status, "method_not_allowed", message));
    }
    let asked: Run = native::body(request).await?;
    let subscription = begin(agent, asked).await?;
    if wants_events(request.headers()) {
        let (events, reply) = sse::stream();
        tokio::task::spawn_local(tell(subscription, events));
        return Ok(reply);
    }
    whole(subscription).await
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

async fn begin(agent: &Rc<Agent>, asked: Run) -> Result<Subscription, Problem> {
    let input = bytes("stdin", asked.stdin, asked.stdin_b64)?;
    let limit = match asked.timeout {
        None => None,
        Some(seconds) if seconds > 0.0 => Some(
            Duration::try_from_secs_f64(seconds).map_err(|e| invalid(format!("timeout: {e}")))?,
        ),
        Some(_) => return Err(invalid("timeout must be more than 0 seconds")),
    };
    let (cmd, args) = match (asked.command, asked.argv, asked.session.is_some()) {
        (Some(line), None, true) => (line, Vec::new()),
        (None, Some(argv), true) => {
            let line = String::from_utf8(quote::join(&argv));
            (line.map_err(|e| invalid(format!("argv: {e}")))?, Vec::new())
        }
        (Some(line), None, false) => shell(line),
        (None, Some(mut argv), false) if !argv.is_empty() => (argv.remove(0), argv),
        _ => return Err(invalid("give command, or argv with the program first")),
    };
    let request = StartRequest {
        process: Some(ProcessConfig {
            cmd,
            args,
            envs: asked.env,
            cwd: asked.cwd,
        }),
        stdin: Some(input.is_some()),
        session: asked.session,
        ..StartRequest::default()
    };
    let user = asked.user.as_deref();
    if request.session.is_some() {
        return command::give(agent, request, user, limit, input).map_err(problem);
    }
    let user = agent.user(user)?;
    let (process, subscription) = start::start(agent, request, &user, limit).await?;
    if let Some(bytes) = input {
        tokio::task::spawn_local(async move {
            let input = Input {
                stdin: Some(bytes),
                pty: None,
            };
            // It may end without reading all of it: what it leaves says the rest.
            let _ = process.input.write(input).await;
            let _ = process.input.close().await;
        });
    }
    Ok(subscription)
}

/// A command line, for the shell that is there.
fn shell(line: String) -> (String, Vec<String>) {
    match bash() {
        Some(bash) => (
            bash.to_owned(),
            vec!["-l".to_owned(), "-c".to_owned(), line],
        ),
        None => ("/bin/sh".to_owned(), vec!["-c".to_owned(), line]),
    }
}

/// A message of a process's stream, its bytes still in base64.
#[derive(Deserialize)]
struct Message {
    event: Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Start { pid: u32 },
    Data(Data),
    End(End),
    Keepalive {},
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Data {
    Stdout(String),
    Stderr(String),
    Pty(String),
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct End {
    exit_code: i32,
    status: String,
    session_ended: bool,
    session_error: Option<SessionError>,
}

#[derive(Clone, Deserialize, Serialize)]
struct SessionError {
    code: String,
    message: String,
}

/// How a command ended.
#[derive(Default, Serialize)]
struct Exit {
    exit_code: i32,
    signal: Option<String>,
    timed_out: bool,
    session_ended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_error: Option<SessionError>,
}

impl Exit {
    fn timed_out() -> Self {
        Self {
            exit_code: -1,
            signal: Some("SIGKILL".to_owned()),
            timed_out: true,
            ..Self::default()
        }
    }
}

impl From<End> for Exit {
    fn from(end: End) -> Self {
        Self {
            exit_code: end.exit_code,
            signal: signal_of(&end.status),
            timed_out: false,
            session_ended: end.session_ended,
            session_error: end.session_error,
        }
    }
}

/// The next event, `Ok(None)` when the command was stopped at its timeout.
async fn next(from: &mut Subscription) -> Result<Option<Event>, Problem> {
    let Some(message) = from.messages.recv().await else {
        return match from.verdict.take() {
            Some(failure) if failure.code == Code::DeadlineExceeded => Ok(None),
            Some(failure) => Err(problem(failure)),
            None => Err(problem(Failure::new(
                Code::Internal,
                "the command's stream ended without its end",
            ))),
        };
    };
    let json = message.get(HEADER..).unwrap_or(&[]);
    let message: Message = serde_json::from_slice(json)
        .map_err(|e| problem(Failure::new(Code::Internal, e.to_string())))?;
    Ok(Some(message.event))
}

/// Passes a command's events on.
async fn tell(mut from: Subscription, to: sse::Events) {
    #[derive(Serialize)]
    struct Start {
        pid: u32,
    }
    #[derive(Serialize)]
    struct Output {
        data: String,
    }
    #[derive(Serialize)]
    struct Refusal {
        code: &'static str,
        message: String,
    }
    loop {
        let event = tokio::select! {
            event = next(&mut from) => event,
            () = to.left() => return,
        };
        // Sending fails when the reader has left: then nobody is told anything.
        let sent = match event {
            Ok(Some(Event::Start { pid })) => to.send("start", &Start { pid }).await,
            Ok(Some(Event::Data(Data::Stdout(data) | Data::Pty(data)))) => {
                to.send("stdout", &Output { data }).await
            }
            Ok(Some(Event::Data(Data::Stderr(data)))) => to.send("stderr", &Output { data }).await,
            Ok(Some(Event::Keepalive {})) => Ok(()),
            Ok(Some(Event::End(end))) => {
                let _ = to.send("exit", &Exit::from(end)).await;
                return;
            }
            Ok(None) => {
                let _ = to.send("exit", &Exit::timed_out()).await;
                return;
            }
            Err(Problem { code, message, .. }) => {
                let _ = to.send("error", &Refusal { code, message }).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// One output, as far as it is kept.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Kept {
    fn add(&mut self, encoded: &str) {
        let piece = STANDARD.decode(encoded).unwrap_or_default();
        let room = MAX_OUTPUT.saturating_sub(self.bytes.len());
        self.truncated |= piece.len() > room;
        self.bytes.extend(piece.iter().take(room));
    }

    /// As text, and in base64 where it is none.
    fn shown(&self) -> (String, Option<String>) {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let is_text = std::str::from_utf8(&self.bytes).is_ok();
        (text, (!is_text).then(|| STANDARD.encode(&self.bytes)))
    }
}

/// Waits for a command's end.
async fn whole(mut from: Subscription) -> Result<Reply, Problem> {
    #[derive(Serialize)]
    struct Answer {
        #[serde(flatten)]
        exit: Exit,
        stdout: String,
        stderr: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        stdout_b64: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stderr_b64: Option<String>,
        truncated: bool,
    }
    let (mut output, mut errors) = (Kept::default(), Kept::default());
    let exit = loop {
        match next(&mut from).await? {
            Some(Event::Data(Data::Stdout(data) | Data::Pty(data))) => output.add(&data),
            Some(Event::Data(Data::Stderr(data))) => errors.add(&data),
            Some(Event::End(end)) => break end.into(),
            Some(Event::Start { .. } | Event::Keepalive {}) => {}
            None => break Exit::timed_out(),
        }
    };
    let (stdout, stdout_b64) = output.shown();
    let (stderr, stderr_b64) = errors.shown();
    Ok(reply::json(
        StatusCode::OK,
        &Answer {
            exit,
            stdout,
            stderr,
            stdout_b64,
            stderr_b64,
            truncated: output.truncated || errors.truncated,
        },
    ))
}
