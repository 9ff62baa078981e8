//! Python that answers or edits requests: what is asked of the handlers' process and how it is
//! waited for. Whatever goes wrong there, the request goes nowhere.
//!
//! [`Handlers::ask`] says what becomes of a request. Of a body only what a handler wants to see
//! passes through its process; [`exchange`] carries it both ways while it lasts.

mod body;
mod connection;
mod exchange;
mod heads;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use body::HandlerBody;
use body::Word;
use bytes::Bytes;
use connection::{Connection, Idle};
use exchange::Exchange;
use http::{request, response, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body as _;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{timeout_at, Instant};
use wardian_wire::egress::handler_frame::{
    decode_head, encode_head, ForwardHead, ForwardedBody, Kind, ResponseTo, SandboxFacts,
};
use wardian_wire::egress::policy::HandlerCall;

/// The most exchanges at once, of the whole node and of one sandbox.
const MAX_EXCHANGES: usize = 1024;
const MAX_OF_ONE: usize = 256;

/// A body that comes from elsewhere, the sandbox or the server.
pub(crate) type Incoming<E> = UnsyncBoxBody<Bytes, E>;

/// Why there is no answer of the handler. What it shows may be told to the sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandlerError {
    #[error("this node runs no handlers")]
    NotConfigured,
    #[error("the handlers' process is not there")]
    Lost(#[source] io::Error),
    #[error("the handler said nothing in time")]
    Late,
    #[error("too many requests are with handlers")]
    TooMany,
    /// The process's own words.
    #[error("{0}")]
    Failed(String),
    #[error("the handler may not change a request or response like this: {0}")]
    Refused(&'static str),
    #[error("the handlers' process spoke out of turn: {0}")]
    Protocol(String),
    #[error("the exchange with the handler ended early")]
    Left,
}

impl HandlerError {
    fn protocol(error: impl std::fmt::Display) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// What becomes of a request.
pub(crate) enum Decision<E> {
    /// The sandbox gets this, and nothing is sent on.
    Answer(Response<HandlerBody<E>>),
    /// This is sent on, once it has been checked like any request.
    Forward {
        head: Box<request::Parts>,
        body: ForwardBody<E>,
        then: Then<E>,
    },
}

/// The body of what is sent on.
pub(crate) enum ForwardBody<E> {
    Original(Incoming<E>),
    Handler(HandlerBody<E>),
    None,
}

/// What is done with the response to what is sent on.
pub(crate) enum Then<E> {
    /// It goes to the sandbox.
    Passthrough,
    /// The handler gets it.
    Ask(Waiting<E>),
}

/// A handler that waits for a response.
pub(crate) struct Waiting<E> {
    words: UnboundedSender<Word<E>>,
    answer: oneshot::Receiver<Result<Response<HandlerBody<E>>, HandlerError>>,
}

impl<E> Waiting<E> {
    /// Gives it the response; returns what the sandbox gets.
    ///
    /// # Errors
    /// [`HandlerError`].
    pub(crate) async fn respond(
        self,
        head: response::Parts,
        body: Incoming<E>,
    ) -> Result<Response<HandlerBody<E>>, HandlerError> {
        self.say(Word::Upstream(head, body)).await
    }

    /// Tells it that there is none. It may answer all the same.
    ///
    /// # Errors
    /// [`HandlerError`], [`HandlerError::Failed`] where it does not.
    pub(crate) async fn fail(
        self,
        reason: String,
    ) -> Result<Response<HandlerBody<E>>, HandlerError> {
        self.say(Word::NoResponse(Some(reason))).await
    }

    async fn say(mut self, word: Word<E>) -> Result<Response<HandlerBody<E>>, HandlerError> {
        // The exchange may be over already: a handler need not wait for what comes.
        let _ = self.words.send(word);
        (&mut self.answer).await.unwrap_or(Err(HandlerError::Left))
    }
}

impl<E> Drop for Waiting<E> {
    fn drop(&mut self) {
        // Without effect where a response was given; the exchange sees the closed channel then.
        let _ = self.words.send(Word::NoResponse(None));
    }
}

/// The handlers' process, over as many connections as are needed.
pub(crate) struct Handlers {
    path: Option<PathBuf>,
    idle: Idle,
    running: Mutex<HashMap<String, usize>>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// An exchange under way.
pub(super) struct Running {
    handlers: Arc<Handlers>,
    sandbox: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.handlers.lock_running();
        if let Some(count) = running.get_mut(&self.sandbox) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.sandbox);
            }
        }
    }
}

impl Handlers {
    /// Handlers that listen at `path`; without one each question fails.
    pub(crate) fn new(path: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            path,
            idle: Idle::default(),
            running: Mutex::default(),
        })
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, sandbox: &str) -> Result<Running, HandlerError> {
        let mut running = self.lock_running();
        let all: usize = running.values().sum();
        let count = running.entry(sandbox.to_owned()).or_default();
        if all >= MAX_EXCHANGES || *count >= MAX_OF_ONE {
            return Err(HandlerError::TooMany);
        }
        *count += 1;
        Ok(Running {
            handlers: Arc::clone(self),
            sandbox: sandbox.to_owned(),
        })
    }

    /// Asks what becomes of a request. Its head has an absolute URI; dropping the future, or what
    /// it returns, ends the exchange.
    ///
    /// # Errors
    /// [`HandlerError`].
    pub(crate) async fn ask<E>(
        self: &Arc<Self>,
        call: &HandlerCall,
        facts: SandboxFacts,
        head: request::Parts,
        body: Incoming<E>,
    ) -> Result<Decision<E>, HandlerError>
    where
        E: std::fmt::Display + Send + 'static,
    {
        let path = self.path.as_ref().ok_or(HandlerError::NotConfigured)?;
        let running = self.begin(&facts.id)?;
        let said = heads::request_head(call, facts, &head, !body.is_end_stream());
        let frame = encode_head(Kind::Request, &said).map_err(HandlerError::protocol)?;
        let time = Duration::from_millis(call.timeout_ms.into());
        let deadline = Instant::now() + time;
        let asking = async {
            let mut connection = match self.idle.take() {
                Some(connection) => connection,
                None => Connection::open(path).await.map_err(HandlerError::Lost)?,
            };
            connection.write_whole(&frame).await?;
            let first = connection.next().await?;
            Ok((connection, first))
        };
        let (connection, first) = timeout_at(deadline, asking)
            .await
            .unwrap_or(Err(HandlerError::Late))?;
        if first.kind == Kind::Forward {
            let said = decode_head::<ForwardHead>(&first.payload);
            let said = said.map_err(HandlerError::protocol)?;
            if said.response == ResponseTo::Passthrough && said.body != ForwardedBody::Stream {
                let head = Box::new(heads::forwarded(head, &said)?);
                self.idle.keep(connection);
                let body = match said.body {
                    ForwardedBody::Original => ForwardBody::Original(body),
                    _ => ForwardBody::None,
                };
                let then = Then::Passthrough;
                return Ok(Decision::Forward { head, body, then });
            }
        }
        let exchange = Exchange::new(connection, body, time, deadline, running);
        exchange.start(first, head).await
    }
}
