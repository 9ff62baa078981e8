//! `process.Process`: from calls to processes.

use super::hub::{Hub, Subscription};
use super::registry::Found;
use super::{encode, Result};
use crate::agent::Agent;
use crate::http::body::{EventStream, Keepalive};
use crate::http::reply::{self, Reply};
use crate::http::request;
use crate::http::router::{unknown_method, within_deadline};
use crate::sessions;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::rc::Rc;
use wardian_wire::connect::{Code, Decoder, Failure};
use wardian_wire::envd::process::{
    Event, ListResponse, ProcessInfo, ProcessRequest, Selector, StartRequest, StreamInputRequest,
};
use wardian_wire::envd::Empty;

/// Answers a call of `method`.
pub(crate) async fn call(agent: Rc<Agent>, method: &str, mut request: Request<Incoming>) -> Reply {
    let headers = request.headers().clone();
    match method {
        "Start" => reply::stream(start(&agent, request).await),
        "Connect" => reply::stream(connect(&agent, request).await),
        "StreamInput" => {
            let mut body = request.into_body();
            let call = stream_input(&agent, &mut body);
            let result = within_deadline(&headers, call).await;
            if result.is_err() {
                request::drain(&mut body).await;
            }
            reply::client_stream(result)
        }
        "List" => reply::unary(within_deadline(&headers, list(&agent, request)).await),
        "Update" | "SendInput" | "SendSignal" | "CloseStdin" => {
            let call = change(&agent, method, request);
            reply::unary(within_deadline(&headers, call).await)
        }
        _ => {
            request::drain(request.body_mut()).await;
            reply::unary::<Empty>(Err(unknown_method("process.Process", method)))
        }
    }
}

async fn start(agent: &Rc<Agent>, request: Request<Incoming>) -> Result<EventStream> {
    let (head, body) = request.into_parts();
    let message: StartRequest = request::enveloped(body).await?;
    let named = request::user(&head.headers)?;
    let limit = request::timeout(&head.headers)?;
    let subscription = if message.session.is_some() {
        sessions::command::start(agent, message, named.as_deref(), limit)?
    } else {
        let user = agent.user(named.as_deref())?;
        super::start::start(agent, message, &user, limit).await?.1
    };
    Ok(stream(subscription, &head.headers))
}

async fn connect(agent: &Agent, request: Request<Incoming>) -> Result<EventStream> {
    let (head, body) = request.into_parts();
    let message: ProcessRequest = request::enveloped(body).await?;
    let subscription = match agent.processes.find(message.process.as_ref())? {
        Found::Running(process) => {
            let pid = process.pid;
            process.hub.subscribe(encode(Event::Start { pid }))
        }
        Found::Ended { pid, end } => {
            let late = Hub::default();
            let subscription = late.subscribe(encode(Event::Start { pid }));
            late.finish(&encode(Event::End(end)));
            subscription
        }
    };
    let mut stream = stream(subscription, &head.headers);
    if let Some(limit) = request::timeout(&head.headers)? {
        let message = format!("the stream was open for {} ms", limit.as_millis());
        let failure = Failure::new(Code::DeadlineExceeded, message);
        stream.deadline = Some((Box::pin(tokio::time::sleep(limit)), failure));
    }
    Ok(stream)
}

fn stream(subscription: Subscription, headers: &HeaderMap) -> EventStream {
    let keepalive = encode(Event::Keepalive {});
    EventStream {
        messages: subscription.messages,
        verdict: subscription.verdict,
        keepalive: Some(Keepalive::new(request::keepalive(headers), keepalive)),
        deadline: None,
        ended: false,
    }
}

async fn list(agent: &Agent, request: Request<Incoming>) -> Result<ListResponse> {
    let _: Empty = request::message(request).await?;
    let processes = agent.processes.running().into_iter();
    let processes = processes.map(|process| ProcessInfo {
        config: process.config.clone(),
        pid: process.pid,
        tag: process.tag.clone(),
    });
    Ok(ListResponse {
        processes: processes.collect(),
    })
}

async fn change(agent: &Agent, method: &str, request: Request<Incoming>) -> Result<Empty> {
    let message: ProcessRequest = request::message(request).await?;
    let process = agent.processes.find_running(message.process.as_ref())?;
    match method {
        "Update" => {
            // Nothing to change is no error.
            if let Some(size) = message.pty.and_then(|pty| pty.size) {
                process.input.resize(size)?;
            }
        }
        "SendInput" => {
            process
                .input
                .write(message.input.unwrap_or_default())
                .await?;
        }
        "CloseStdin" => process.input.close().await?,
        _ => {
            let number = message.signal.as_ref().and_then(|signal| signal.number());
            let Some(number) = number else {
                return Err(Failure::new(
                    Code::Unimplemented,
                    "only SIGNAL_SIGTERM and SIGNAL_SIGKILL can be sent",
                ));
            };
            process.signal(number);
        }
    }
    Ok(Empty {})
}

/// Takes input as it arrives, in order.
async fn stream_input(agent: &Agent, body: &mut Incoming) -> Result<Empty> {
    let mut decoder = Decoder::default();
    let mut process = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(Code::Canceled, error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        decoder.feed(&data);
        while let Some(message) = decoder
            .next_message()
            .map_err(|e| Failure::new(Code::InvalidArgument, e.to_string()))?
        {
            let message: StreamInputRequest = request::parse(&message)?;
            if let Some(start) = message.start {
                let selector: Option<Selector> = start.process;
                process = Some(agent.processes.find_running(selector.as_ref())?);
            }
            let Some(data) = message.data else { continue };
            let Some(process) = &process else {
                return Err(Failure::new(
                    Code::InvalidArgument,
                    "input came before the message that says which process it is for",
                ));
            };
            process.input.write(data.input.unwrap_or_default()).await?;
        }
    }
    if decoder.is_empty() {
        Ok(Empty {})
    } else {
        Err(Failure::new(
            Code::InvalidArgument,
            "the request ended within a message",
        ))
    }
}
