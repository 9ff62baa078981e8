//! `/v1/terminals`: from requests to terminals.

use super::client;
use super::command::Wanted;
use super::handshake::{self, invalid, Asked};
use super::registry::{Own, NEW};
use super::terminal::{Shown, Terminal};
use crate::agent::Agent;
use crate::http::native::{self, Problem};
use crate::http::reply::{self, Reply};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use wardian_wire::terminal::{cells, Size};

/// The body of `POST terminals`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Create {
    name: Option<String>,
    argv: Option<Vec<String>>,
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
    user: Option<String>,
    cols: Option<u64>,
    rows: Option<u64>,
}

#[derive(Debug, Serialize)]
struct List {
    terminals: Vec<Shown>,
}

/// Answers a call below `/v1/terminals`; `rest` is the path behind that.
///
/// # Errors
/// What is to be answered instead.
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    let terminals = &agent.terminals;
    match (request.method(), rest) {
        (&Method::GET, "") => {
            let terminals = terminals.all().iter().map(|t| t.show()).collect();
            Ok(reply::json(StatusCode::OK, &List { terminals }))
        }
        (&Method::POST, "") => create(agent, request).await,
        (_, "") => Err(not_allowed(request)),
        (_, name) if name.contains('/') => Err(not_found(request)),
        (&Method::GET, name) if handshake::is_upgrade(request.headers()) => {
            attach(agent, name, request).await
        }
        (&Method::GET, name) => Ok(reply::json(StatusCode::OK, &terminals.find(name)?.show())),
        (&Method::DELETE, name) => {
            terminals.delete(name).await?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(not_allowed(request)),
    }
}

async fn create(agent: &Rc<Agent>, request: &mut Request<Incoming>) -> Result<Reply, Problem> {
    let asked: Create = native::body(request).await?;
    let side = |name, given: Option<u64>, first| match given {
        None => Ok(first),
        Some(number) => cells(number).ok_or_else(|| invalid(format!("{name} must be at least 1"))),
    };
    let first = Size::default();
    let size = Size {
        cols: side("cols", asked.cols, first.cols)?,
        rows: side("rows", asked.rows, first.rows)?,
    };
    let wanted = Wanted {
        argv: asked.argv,
        cwd: asked.cwd,
        env: asked.env.unwrap_or_default(),
        user: asked.user,
        size,
    };
    let terminal = agent.terminals.create(agent, asked.name, &wanted).await?;
    Ok(reply::json(StatusCode::CREATED, &terminal.show()))
}

/// Changes to WebSocket. A terminal that can't be had is told there and not in the answer, which
/// scripts in a browser do not get to see; but one that should be there and is not answers 404.
async fn attach(
    agent: &Rc<Agent>,
    name: &str,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    let asked = handshake::asked(request.uri().query())?;
    let (answer, connection) = match handshake::accept(request) {
        Ok(accepted) => accepted,
        Err(problem) => {
            let mut reply = problem.reply();
            handshake::name_version(&mut reply);
            return Ok(reply);
        }
    };
    let found = find(agent, name, &asked).await;
    let found = match found {
        Err(problem) if !asked.create => return Err(problem),
        found => found,
    };
    tokio::task::spawn_local(converse(connection, found));
    Ok(answer)
}

/// What a client is attached to.
enum Attached {
    Shared(Rc<Terminal>),
    /// Ends with the connection.
    Own(Own),
}

async fn find(agent: &Rc<Agent>, name: &str, asked: &Asked) -> Result<Attached, Problem> {
    let terminals = &agent.terminals;
    if name == NEW {
        return Ok(Attached::Own(
            terminals.create_own(agent, &asked.wanted).await?,
        ));
    }
    let (terminal, was_there) = if asked.create {
        terminals.find_or_create(agent, name, &asked.wanted).await?
    } else {
        (terminals.find(name)?, true)
    };
    if let Some(size) = asked
        .size
        .filter(|_| was_there && terminal.ending().is_none())
    {
        let resized = terminal.resize(size);
        resized.map_err(|errno| invalid(format!("resizing terminal '{name}': {errno}")))?;
    }
    Ok(Attached::Shared(terminal))
}

async fn converse(connection: OnUpgrade, found: Result<Attached, Problem>) {
    // The client may leave before the change is made.
    let Ok(connection) = connection.await else {
        return;
    };
    let socket = client::open(connection).await;
    match found {
        Ok(Attached::Shared(terminal)) => client::serve(socket, terminal).await,
        Ok(Attached::Own(own)) => client::serve(socket, Rc::clone(&own.terminal)).await,
        Err(problem) => client::refuse(socket, problem.message).await,
    }
}

fn not_allowed(request: &Request<Incoming>) -> Problem {
    let message = format!("{} is not for {}", request.method(), request.uri().path());
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

fn not_found(request: &Request<Incoming>) -> Problem {
    let message = format!("there is no {}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", message)
}
