//! Wardian's own service for files, `/v1/files/…`: what E2B's calls lack. Names are bytes
//! everywhere. As with those calls `user` says whose home relative paths start in and who owns what
//! is made, not what may be reached.

mod arrange;
mod attributes;
mod batch;
mod call;
mod coding;
mod content;
mod digest;
mod entry;
mod lines;
mod listing;
mod pack;
mod pattern;
mod problem;
mod replace;
mod replacement;
mod search;
mod selection;
mod target;
mod unpack;
mod walk;
mod work;
mod zstd;

use crate::agent::Agent;
use crate::http::reply::Reply;
use crate::http::request;
use http::Request;
use hyper::body::Incoming;

/// The calls there are.
const CALLS: [&str; 12] = [
    "archive",
    "attributes",
    "content",
    "directory",
    "entry",
    "glob",
    "hash",
    "link",
    "list",
    "move",
    "replace",
    "search",
];

/// Answers a request to `files/<path>`. A body as large as a disk is forgotten behind its answer.
pub(crate) async fn answer(agent: &Agent, path: &str, mut request: Request<Incoming>) -> Reply {
    let outcome = match (request.method().as_str(), path) {
        ("GET", "list") => listing::list(agent, &request).await,
        ("GET", "glob") => listing::glob(agent, &request).await,
        ("GET", "entry") => arrange::tell(agent, &request).await,
        ("DELETE", "entry") => arrange::remove(agent, &request).await,
        ("POST", "directory") => arrange::make_directory(agent, request.body_mut()).await,
        ("POST", "move") => arrange::rename(agent, request.body_mut()).await,
        ("POST", "link") => arrange::link(agent, request.body_mut()).await,
        ("POST", "attributes") => attributes::change(agent, request.body_mut()).await,
        ("POST", "search") => search::search(agent, request.body_mut()).await,
        ("POST", "replace") => replace::replace(agent, request.body_mut()).await,
        ("GET", "hash") => digest::hash(agent, &request).await,
        ("GET" | "HEAD", "content") => content::send(agent, &request).await,
        ("PUT", "content") => content::receive(agent, &mut request).await,
        ("GET", "archive") => pack::send(agent, &request).await,
        ("PUT", "archive") => unpack::receive(agent, &mut request).await,
        (_, other) => Err(arrange::unknown(
            request.method(),
            other,
            CALLS.contains(&other),
        )),
    };
    match outcome {
        Ok(reply) => reply,
        Err(problem) => {
            request::drain_behind(request.into_body());
            problem.reply()
        }
    }
}
