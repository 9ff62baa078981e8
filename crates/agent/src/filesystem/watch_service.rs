//! Watches as calls: streamed, or fetched one by one.

use super::service::{caller, read, resolve};
use super::watch::{Watch, Wish};
use super::{blocking, Result};
use crate::agent::Agent;
use crate::http::body::{EventStream, Keepalive, Verdict};
use crate::http::request;
use crate::users::User;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use rustix::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use wardian_wire::connect::{envelope, Code, Failure};
use wardian_wire::envd::filesystem::{
    FilesystemEvent, PathRequest, WatchMessage, WatcherEvents, WatcherId,
};
use wardian_wire::envd::Empty;

/// How many messages a stream may lag behind before the kernel has to keep events.
const QUEUE: usize = 256;

/// A watch and the means to wait for it.
pub(super) struct Feed {
    watch: Option<Watch>,
    ready: AsyncFd<OwnedFd>,
}

impl Feed {
    /// Begins to watch.
    pub(super) async fn open(wish: Wish) -> Result<Self> {
        let watch = blocking::run(move || Watch::new(wish)).await?;
        let ready = watch.handle().and_then(crate::sys::watched);
        let ready = ready.map_err(|e| {
            let message = format!("waiting for a watch: {e}");
            Failure::new(Code::ResourceExhausted, message)
        })?;
        Ok(Self {
            watch: Some(watch),
            ready,
        })
    }

    /// Waits for something to happen.
    ///
    /// # Errors
    /// `data_loss`, after which the feed goes on; anything else ends it.
    pub(super) async fn next(&mut self) -> Result<Vec<FilesystemEvent>> {
        loop {
            let ready = self.ready.readable().await;
            let mut ready =
                ready.map_err(|e| Failure::new(Code::Internal, format!("watching: {e}")))?;
            let Some(mut watch) = self.watch.take() else {
                return Err(Failure::new(Code::Internal, "the watch has ended"));
            };
            let (watch, outcome) = blocking::run(move || {
                let outcome = watch.read();
                Ok((watch, outcome))
            })
            .await?;
            self.watch = Some(watch);
            match outcome {
                // Read until nothing was left.
                Ok(events) if events.is_empty() => ready.clear_ready(),
                outcome => return outcome,
            }
        }
    }
}

fn wish(agent: &Agent, user: &User, message: &PathRequest) -> Result<Wish> {
    Ok(Wish {
        root: resolve(agent, &message.path, user)?,
        recursive: message.recursive,
        include_entry: message.include_entry,
        allow_network_mounts: message.allow_network_mounts,
    })
}

/// `WatchDir`.
pub(super) async fn stream(agent: &Agent, request: Request<Incoming>) -> Result<EventStream> {
    let (head, body) = request.into_parts();
    let message = request::enveloped(body).await?;
    let user = caller(agent, &head.headers)?;
    let mut feed = Feed::open(wish(agent, &user, &message)?).await?;
    let (queue, messages) = mpsc::channel(QUEUE);
    // The queue is new and has room.
    let _ = queue.try_send(encode(WatchMessage::Start(Empty {})));
    let verdict = Verdict::default();
    let judge = verdict.clone();
    tokio::task::spawn_local(async move {
        let told = tell(&mut feed, &queue);
        tokio::select! {
            failure = told => judge.set(failure),
            () = queue.closed() => {}
        }
    });
    let interval = request::keepalive(&head.headers);
    let keepalive = encode(WatchMessage::Keepalive(Empty {}));
    let deadline = request::timeout(&head.headers)?.map(|limit| {
        let message = format!("the stream was open for {} ms", limit.as_millis());
        let failure = Failure::new(Code::DeadlineExceeded, message);
        (Box::pin(tokio::time::sleep(limit)), failure)
    });
    Ok(EventStream {
        messages,
        verdict,
        keepalive: Some(Keepalive::new(interval, keepalive)),
        deadline,
        ended: false,
    })
}

/// Sends events until something goes wrong, a loss of events among that: a stream can tell it
/// only by its end.
async fn tell(feed: &mut Feed, queue: &mpsc::Sender<Bytes>) -> Failure {
    loop {
        match feed.next().await {
            Ok(events) => {
                for event in events {
                    if queue
                        .send(encode(WatchMessage::Filesystem(Box::new(event))))
                        .await
                        .is_err()
                    {
                        return Failure::new(Code::Canceled, "the client is gone");
                    }
                }
            }
            Err(failure) => return failure,
        }
    }
}

fn encode(message: WatchMessage) -> Bytes {
    envelope(&message).unwrap_or_default().into()
}

/// `CreateWatcher`.
pub(super) async fn create(agent: &Agent, request: Request<Incoming>) -> Result<WatcherId> {
    let (user, message): (User, PathRequest) = read(agent, request).await?;
    let watcher_id = agent.watchers.create(wish(agent, &user, &message)?).await?;
    Ok(WatcherId { watcher_id })
}

/// `GetWatcherEvents`.
pub(super) async fn events(agent: &Agent, request: Request<Incoming>) -> Result<WatcherEvents> {
    let message: WatcherId = request::message(request).await?;
    let events = agent.watchers.events(&message.watcher_id)?;
    Ok(WatcherEvents { events })
}

/// `RemoveWatcher`.
pub(super) async fn remove(agent: &Agent, request: Request<Incoming>) -> Result<Empty> {
    let message: WatcherId = request::message(request).await?;
    agent.watchers.remove(&message.watcher_id)?;
    Ok(Empty {})
}
