//! One client of a terminal: both directions of its WebSocket.

use super::output::{Next, Place};
use super::terminal::Terminal;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval_at, timeout, Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::WebSocketStream;
use wardian_wire::terminal::{self, Notice, Request};

/// The longest message a client may send, in bytes.
const LONGEST: usize = 1024 * 1024;
/// What is read from a connection at once, in bytes: keys are few.
const READ_BUFFER: usize = 4 * 1024;
/// How much output is sent as one message, in bytes.
const CHUNK: usize = 32 * 1024;
/// A ping is sent so often, so that nothing on the way takes the connection for idle.
const PING: Duration = Duration::from_secs(20);
/// How long the other side has to answer a close.
const LINGER: Duration = Duration::from_secs(2);
/// How many complaints may wait for a client that does not read; more are not told.
const COMPLAINTS: usize = 16;

type Sender = SplitSink<Socket, Message>;
type Receiver = SplitStream<Socket>;
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The connection as a WebSocket.
pub(super) async fn open(connection: Upgraded) -> Socket {
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    config.write_buffer_size = 0;
    config.max_message_size = Some(LONGEST);
    config.max_frame_size = Some(LONGEST);
    WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await
}

/// Says why there is no terminal, and closes.
pub(super) async fn refuse(mut socket: Socket, message: String) {
    let told = async {
        socket.send(text(&Notice::Error { message })).await?;
        socket.send(closing(CloseCode::Error, "")).await?;
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<_, Error>(())
    };
    // A client that has left needs no answer.
    let _ = timeout(LINGER, told).await;
}

/// Serves one client until it leaves or the program has ended.
pub(super) async fn serve(socket: Socket, terminal: Rc<Terminal>) {
    let _present = Present::new(&terminal);
    let (mut sender, mut receiver) = socket.split();
    let (complain, complaints) = mpsc::channel(COMPLAINTS);
    let last = tokio::select! {
        last = receive(&mut receiver, &terminal, &complain) => last,
        last = send(&mut sender, &terminal, complaints) => last,
    };
    let Some(last) = last else { return };
    let closed = async {
        sender.send(last).await?;
        while let Some(message) = receiver.next().await {
            message?;
        }
        Ok::<_, Error>(())
    };
    // Only politeness is lost where this fails or takes too long.
    let _ = timeout(LINGER, closed).await;
}

/// Counts a client while it is there.
struct Present(Rc<Terminal>);

impl Present {
    fn new(terminal: &Rc<Terminal>) -> Self {
        terminal.clients.set(terminal.clients.get() + 1);
        Self(Rc::clone(terminal))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.clients.set(self.0.clients.get().saturating_sub(1));
    }
}

/// Does what the client says. Returns the close to end with, `None` if the client has left.
async fn receive(
    receiver: &mut Receiver,
    terminal: &Terminal,
    complain: &mpsc::Sender<String>,
) -> Option<Message> {
    while let Some(message) = receiver.next().await {
        let complaint = match message {
            Ok(Message::Binary(keys)) => {
                // Fails once the program has ended, which the other direction tells.
                let _ = terminal.keys.send(keys).await;
                continue;
            }
            Ok(Message::Text(text)) => match terminal::request(&text) {
                Ok(Some(Request::Resize(size))) => {
                    let resized = terminal.resize(size);
                    resized.err().map(|errno| format!("resize: {errno}"))
                }
                Ok(None) => None,
                Err(misunderstood) => Some(misunderstood.to_string()),
            },
            // The library answers pings and closes.
            Ok(_) => None,
            Err(error) => return refusal(&error),
        };
        if let Some(complaint) = complaint {
            // A client that does not read what was wrong before does not need to know more.
            let _ = complain.try_send(complaint);
        }
    }
    None
}

fn refusal(error: &Error) -> Option<Message> {
    match error {
        Error::Capacity(_) => Some(closing(CloseCode::Size, "a message is at most 1 MiB")),
        Error::Utf8(_) => Some(closing(CloseCode::Invalid, "text is UTF-8")),
        Error::Protocol(error) => Some(closing(CloseCode::Protocol, &error.to_string())),
        _ => None,
    }
}

/// Sends what was shown so far and all that comes. Returns the close to end with, `None` if the
/// client has left.
async fn send(
    sender: &mut Sender,
    terminal: &Rc<Terminal>,
    mut complaints: mpsc::Receiver<String>,
) -> Option<Message> {
    let mut changes = terminal.output.changes();
    let (place, replay) = terminal.output.attach();
    if terminal.output.needs_redraw() && terminal.ending().is_none() {
        terminal.redraw();
    }
    if let Some(replay) = replay {
        sender.send(Message::binary(replay)).await.ok()?;
    }
    sender.send(text(&Notice::Ready)).await.ok()?;
    let mut pings = interval_at(Instant::now() + PING, PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        changes.mark_unchanged();
        if !send_output(sender, &place).await.ok()? {
            let ending = terminal.ending()?;
            sender.send(text(&ending.notice())).await.ok()?;
            return Some(closing(CloseCode::Normal, ""));
        }
        let message = tokio::select! {
            // Fails only without a terminal, which this one holds.
            _ = changes.changed() => continue,
            Some(message) = complaints.recv() => text(&Notice::Error { message }),
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        sender.send(message).await.ok()?;
    }
}

/// Sends all output there is. Returns whether more may come.
async fn send_output(sender: &mut Sender, place: &Place) -> Result<bool, Error> {
    loop {
        match place.next(CHUNK) {
            Next::Output(output) => sender.send(Message::binary(output)).await?,
            Next::Nothing => return Ok(true),
            Next::End => return Ok(false),
        }
        place.taken();
    }
}

fn text<T: Serialize>(notice: &T) -> Message {
    Message::text(serde_json::to_string(notice).unwrap_or_default())
}

fn closing(code: CloseCode, reason: &str) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}
