//! `/v1/git`: from calls to commands.

use super::{clone, local, remote, Result};
use crate::agent::Agent;
use crate::http::native::{body, Problem};
use crate::http::reply::Reply;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::rc::Rc;

/// Answers `/v1/git/<rest>`.
///
/// # Errors
/// Of the call, as [`Problem`]s.
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply> {
    const CALLS: [&str; 9] = [
        "branches", "checkout", "clone", "commit", "diff", "log", "pull", "push", "status",
    ];
    if !CALLS.contains(&rest) {
        let message = format!("there is no /v1/git/{rest}");
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", message));
    }
    if request.method() != Method::POST {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let message = "git is called with POST";
        return Err(Problem::new(status, "method_not_allowed", message));
    }
    match rest {
        "clone" => clone::clone(agent, body(request).await?),
        "status" => local::status(agent, body(request).await?).await,
        "diff" => local::diff(agent, body(request).await?).await,
        "commit" => local::commit(agent, body(request).await?).await,
        "checkout" => local::checkout(agent, body(request).await?).await,
        "branches" => local::branches(agent, body(request).await?).await,
        "log" => local::log(agent, body(request).await?).await,
        "push" => remote::push(agent, body(request).await?).await,
        _ => remote::pull(agent, body(request).await?).await,
    }
}
