//! An exchange that is more than a question and a word: bodies go to the handler and come from it,
//! each no faster than it is taken at its other end.

use super::body::{HandlerBody, Part, Word};
use super::connection::{Connection, Frame};
use super::streams::{Sink, Source, FIRST};
use super::{heads, Decision, ForwardBody, HandlerError, Incoming, Running, Then, Waiting};
use bytes::Bytes;
use http::{request, HeaderMap, Response};
use hyper::body::Body as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, Instant};
use wardian_wire::egress::handler_frame::{
    decode_head, encode_head, Credit, Failure, ForwardHead, ForwardedBody, Kind, ResponseHead,
    ResponseTo,
};

type Said<E> = Result<Decision<E>, HandlerError>;
type Answered<E> = Result<Response<HandlerBody<E>>, HandlerError>;

enum Head<E> {
    /// The handler has not said what becomes of the request.
    Request(Box<request::Parts>, oneshot::Sender<Said<E>>),
    /// It has sent it on and wants the response.
    Response(oneshot::Sender<Answered<E>>),
    /// All heads are there.
    None,
}

pub(super) struct Exchange<E> {
    connection: Connection,
    request: Source<E>,
    response: Source<E>,
    forward: Option<Sink>,
    answer: Option<Sink>,
    head: Head<E>,
    /// Whether the response is still to come from the server.
    awaits_server: bool,
    words: UnboundedReceiver<Word<E>>,
    speaker: UnboundedSender<Word<E>>,
    time: Duration,
    deadline: Instant,
    running: Running,
}

impl<E: std::fmt::Display + Send + 'static> Exchange<E> {
    pub(super) fn new(
        connection: Connection,
        body: Incoming<E>,
        time: Duration,
        deadline: Instant,
        running: Running,
    ) -> Self {
        let (speaker, words) = unbounded_channel();
        Self {
            connection,
            request: Source::new(Some(body), 0),
            response: Source::new(None, FIRST),
            forward: None,
            answer: None,
            head: Head::None,
            awaits_server: false,
            words,
            speaker,
            time,
            deadline,
            running,
        }
    }

    /// Goes on behind the first frame, in a task of its own that ends with the exchange.
    pub(super) async fn start(mut self, first: Frame, head: request::Parts) -> Said<E> {
        let (said, decision) = oneshot::channel();
        self.head = Head::Request(Box::new(head), said);
        tokio::spawn(self.run(first));
        decision.await.unwrap_or(Err(HandlerError::Left))
    }

    async fn run(mut self, first: Frame) {
        match self.carry(first).await {
            Ok(()) => {
                let handlers = Arc::clone(&self.running.handlers);
                handlers.idle.keep(self.connection);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Tells whoever still waits.
    fn fail(self, error: HandlerError) {
        tracing::debug!(%error, "an exchange with a handler failed");
        for sink in [self.forward, self.answer].into_iter().flatten() {
            let why = HandlerError::Failed(error.to_string());
            let _ = sink.parts.send(Part::Failed(why));
        }
        match self.head {
            Head::Request(_, said) => drop(said.send(Err(error))),
            Head::Response(answered) => drop(answered.send(Err(error))),
            Head::None => {}
        }
    }

    async fn carry(&mut self, first: Frame) -> Result<(), HandlerError> {
        let mut over = self.hear(first)?;
        while !over {
            let late = !matches!(self.head, Head::None) && !self.awaits_server;
            let sends = (self.request.may_send(), self.response.may_send());
            tokio::select! {
                frame = self.connection.next() => {
                    over = self.hear(frame?)?;
                    self.deadline = Instant::now() + self.time;
                }
                Some(word) = self.words.recv() => self.obey(word).await?,
                part = self.request.next(), if sends.0 => {
                    let kinds = (Kind::RequestBody, Kind::RequestEnd);
                    let part = part.map_err(|_| HandlerError::Left)?;
                    send(&mut self.connection, kinds, part).await?;
                    self.deadline = Instant::now() + self.time;
                }
                part = self.response.next(), if sends.1 => {
                    let kinds = (Kind::ResponseBody, Kind::ResponseEnd);
                    match part {
                        Ok(part) => send(&mut self.connection, kinds, part).await?,
                        Err(reason) => self.no_response(reason).await?,
                    }
                    self.deadline = Instant::now() + self.time;
                }
                () = closed(&mut self.head) => return Err(HandlerError::Left),
                () = sleep_until(self.deadline), if late => return Err(HandlerError::Late),
            }
        }
        Ok(())
    }

    /// Takes a frame; true where it was the handler's last.
    fn hear(&mut self, frame: Frame) -> Result<bool, HandlerError> {
        match frame.kind {
            Kind::Forward => self.forward(&frame.payload),
            Kind::Answer => self.answer(&frame.payload),
            Kind::ForwardBody => Sink::data(self.forward.as_mut(), frame.payload).map(|()| false),
            Kind::AnswerBody => Sink::data(self.answer.as_mut(), frame.payload).map(|()| false),
            Kind::ForwardEnd => {
                Sink::end(self.forward.as_mut(), &frame.payload)?;
                Ok(matches!(self.head, Head::None) && self.answer.is_none())
            }
            Kind::AnswerEnd => Sink::end(self.answer.as_mut(), &frame.payload).map(|()| true),
            Kind::Credit => {
                let credit = Credit::decode(&frame.payload).map_err(HandlerError::protocol)?;
                let source = match credit.body {
                    Kind::RequestBody => &mut self.request,
                    Kind::ResponseBody => &mut self.response,
                    _ => return Err(HandlerError::protocol("credit for its own body")),
                };
                source.credit = source.credit.saturating_add(credit.bytes as usize);
                Ok(false)
            }
            Kind::Failure => {
                let failure = decode_head::<Failure>(&frame.payload);
                let reason = failure.map_err(HandlerError::protocol)?.reason;
                Err(HandlerError::Failed(reason.chars().take(200).collect()))
            }
            kind => Err(HandlerError::Protocol(format!("{kind:?}"))),
        }
    }

    fn forward(&mut self, payload: &[u8]) -> Result<bool, HandlerError> {
        let said = decode_head::<ForwardHead>(payload).map_err(HandlerError::protocol)?;
        let Head::Request(head, teller) = std::mem::replace(&mut self.head, Head::None) else {
            return Err(HandlerError::protocol("a second head"));
        };
        let made = heads::forwarded(*head, &said).and_then(|head| Ok((head, self.sent_on(&said)?)));
        let (head, body) = match made {
            Ok(made) => made,
            Err(error) => {
                self.head = Head::None;
                drop(teller.send(Err(error)));
                return Err(HandlerError::Left);
            }
        };
        let then = match said.response {
            ResponseTo::Passthrough => Then::Passthrough,
            ResponseTo::Stream => {
                let (answered, answer) = oneshot::channel();
                self.head = Head::Response(answered);
                self.awaits_server = true;
                let words = self.speaker.clone();
                Then::Ask(Waiting { words, answer })
            }
        };
        let head = Box::new(head);
        let told = teller.send(Ok(Decision::Forward { head, body, then }));
        told.map_err(|_| HandlerError::Left)?;
        Ok(matches!(self.head, Head::None) && self.forward.is_none())
    }

    fn sent_on(&mut self, said: &ForwardHead) -> Result<ForwardBody<E>, HandlerError> {
        match said.body {
            ForwardedBody::None => Ok(ForwardBody::None),
            ForwardedBody::Original => {
                let untouched = self.request.credit == 0 && !self.request.begun();
                let body = self.request.body.take().filter(|_| untouched);
                let body = body.ok_or_else(|| HandlerError::protocol("a body it has read"))?;
                Ok(ForwardBody::Original(body))
            }
            ForwardedBody::Stream => {
                let (sink, body) = self.pair(Kind::ForwardBody, said.length);
                self.forward = Some(sink);
                Ok(ForwardBody::Handler(body))
            }
        }
    }

    fn answer(&mut self, payload: &[u8]) -> Result<bool, HandlerError> {
        let said = decode_head::<ResponseHead>(payload).map_err(HandlerError::protocol)?;
        let head = heads::answered(&said)?;
        let (sink, body) = self.pair(Kind::AnswerBody, said.length);
        let response = Response::from_parts(head, body);
        let told = match std::mem::replace(&mut self.head, Head::None) {
            Head::Request(_, teller) => teller.send(Ok(Decision::Answer(response))).is_ok(),
            Head::Response(teller) => teller.send(Ok(response)).is_ok(),
            Head::None => return Err(HandlerError::protocol("a second answer")),
        };
        self.awaits_server = false;
        self.answer = Some(sink);
        told.then_some(false).ok_or(HandlerError::Left)
    }

    fn pair(&self, kind: Kind, length: Option<u64>) -> (Sink, HandlerBody<E>) {
        let (sender, parts) = unbounded_channel();
        let sink = Sink {
            parts: sender,
            credit: FIRST,
            taken: 0,
            ended: false,
        };
        let body = HandlerBody {
            parts,
            words: self.speaker.clone(),
            kind,
            left: length,
            ended: false,
        };
        (sink, body)
    }

    async fn obey(&mut self, word: Word<E>) -> Result<(), HandlerError> {
        match word {
            Word::Taken(kind, count) => {
                let sink = match kind {
                    Kind::ForwardBody => self.forward.as_mut(),
                    _ => self.answer.as_mut(),
                };
                let Some(bytes) = sink.and_then(|sink| sink.take(count)) else {
                    return Ok(());
                };
                let credit = Credit { body: kind, bytes }.encode();
                self.connection.write(Kind::Credit, &credit).await
            }
            // A server may answer before it has read all; the handler then waits in vain with the
            // rest until its answer is through.
            Word::Left(Kind::ForwardBody) if self.answer.is_some() || self.expects_answer() => {
                Ok(())
            }
            Word::Left(_) => Err(HandlerError::Left),
            Word::Upstream(head, body) if self.awaits_server => {
                self.awaits_server = false;
                self.deadline = Instant::now() + self.time;
                let said = heads::response_head(&head, body.size_hint().exact());
                let frame = encode_head(Kind::Response, &said).map_err(HandlerError::protocol)?;
                self.response.body = Some(body);
                self.connection.write_whole(&frame).await
            }
            Word::NoResponse(Some(reason)) if self.awaits_server => {
                self.awaits_server = false;
                self.deadline = Instant::now() + self.time;
                self.no_response(reason).await
            }
            Word::NoResponse(None) if self.awaits_server => Err(HandlerError::Left),
            Word::Upstream(..) | Word::NoResponse(_) => Ok(()),
        }
    }

    fn expects_answer(&self) -> bool {
        matches!(self.head, Head::Response(_))
    }

    async fn no_response(&mut self, reason: String) -> Result<(), HandlerError> {
        self.response.body = None;
        let reason = reason.chars().take(1000).collect();
        let frame = encode_head(Kind::Failure, &Failure { reason });
        let frame = frame.map_err(HandlerError::protocol)?;
        self.connection.write_whole(&frame).await
    }
}

/// Waits until nobody waits for the head any more.
async fn closed<E>(head: &mut Head<E>) {
    match head {
        Head::Request(_, teller) => teller.closed().await,
        Head::Response(teller) => teller.closed().await,
        Head::None => std::future::pending().await,
    }
}

async fn send(
    connection: &mut Connection,
    (data, end): (Kind, Kind),
    part: Option<Result<Bytes, HeaderMap>>,
) -> Result<(), HandlerError> {
    match part {
        Some(Ok(bytes)) => connection.write(data, &bytes).await,
        Some(Err(trailers)) => {
            let lines = heads::lines(&trailers, |_| true);
            let frame = encode_head(end, &lines).map_err(HandlerError::protocol)?;
            connection.write_whole(&frame).await
        }
        None => connection.write(end, &[]).await,
    }
}
