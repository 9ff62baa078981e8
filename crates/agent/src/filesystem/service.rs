//! `filesystem.Filesystem`: from calls to files.

use super::{blocking, operations, watch_service, Result};
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use crate::http::request;
use crate::http::router::{unknown_method, within_deadline};
use crate::paths;
use crate::users::User;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::rc::Rc;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::filesystem::{EntryResponse, ListDirResponse, MoveRequest, PathRequest};
use wardian_wire::envd::Empty;

/// Answers a call of `method`.
pub(crate) async fn call(agent: Rc<Agent>, method: &str, mut request: Request<Incoming>) -> Reply {
    let headers = request.headers().clone();
    let agent = &agent;
    let headers = &headers;
    match method {
        "WatchDir" => reply::stream(watch_service::stream(agent, request).await),
        "Stat" | "MakeDir" | "Move" => {
            let call = entry(agent, method, request);
            reply::unary(within_deadline(headers, call).await)
        }
        "ListDir" => reply::unary(within_deadline(headers, list(agent, request)).await),
        "Remove" => reply::unary(within_deadline(headers, remove(agent, request)).await),
        "CreateWatcher" => {
            let call = watch_service::create(agent, request);
            reply::unary(within_deadline(headers, call).await)
        }
        "GetWatcherEvents" => {
            let call = watch_service::events(agent, request);
            reply::unary(within_deadline(headers, call).await)
        }
        "RemoveWatcher" => {
            let call = watch_service::remove(agent, request);
            reply::unary(within_deadline(headers, call).await)
        }
        _ => {
            request::drain(request.body_mut()).await;
            reply::unary::<Empty>(Err(unknown_method("filesystem.Filesystem", method)))
        }
    }
}

/// The user and the message of a call.
pub(super) async fn read<T: DeserializeOwned>(
    agent: &Agent,
    request: Request<Incoming>,
) -> Result<(User, T)> {
    let headers = request.headers().clone();
    let message = request::message(request).await?;
    Ok((caller(agent, &headers)?, message))
}

pub(super) fn caller(agent: &Agent, headers: &HeaderMap) -> Result<User> {
    agent.user(request::user(headers)?.as_deref())
}

/// What a path in a message means to `user`.
pub(super) fn resolve(agent: &Agent, path: &str, user: &User) -> Result<PathBuf> {
    let default = agent.default_workdir();
    paths::resolve(path.as_bytes(), user, default.as_deref())
        .map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()))
}

async fn entry(agent: &Agent, method: &str, request: Request<Incoming>) -> Result<EntryResponse> {
    let entry = if method == "Move" {
        let (user, message): (User, MoveRequest) = read(agent, request).await?;
        let source = resolve(agent, &message.source, &user)?;
        let destination = resolve(agent, &message.destination, &user)?;
        blocking::run(move || operations::rename(&source, &destination, &user)).await?
    } else {
        let (user, message): (User, PathRequest) = read(agent, request).await?;
        let path = resolve(agent, &message.path, &user)?;
        let make = method == "MakeDir";
        let work = move || match make {
            true => operations::make_directory(&path, &user),
            false => operations::stat(&path),
        };
        blocking::run(work).await?
    };
    Ok(EntryResponse { entry })
}

async fn list(agent: &Agent, request: Request<Incoming>) -> Result<ListDirResponse> {
    let (user, message): (User, PathRequest) = read(agent, request).await?;
    let path = resolve(agent, &message.path, &user)?;
    let entries = blocking::run(move || operations::list(&path, message.depth)).await?;
    Ok(ListDirResponse { entries })
}

async fn remove(agent: &Agent, request: Request<Incoming>) -> Result<Empty> {
    let (user, message): (User, PathRequest) = read(agent, request).await?;
    let path = resolve(agent, &message.path, &user)?;
    blocking::run(move || operations::remove(&path)).await?;
    Ok(Empty {})
}
