//! `/v1/processes`: from requests to background processes.

use super::registry::{Registry, REMOVAL_GRACE};
use super::request::{SignalBody, StartBody, StopBody};
use super::{reading, wait, Background, Order, Phase};
use crate::agent::Agent;
use crate::http::native::{self, Problem};
use crate::http::reply::{self, Reply};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

type Answer = Result<Reply, Problem>;

/// Answers a request for `rest`, the path below `processes`.
pub(crate) async fn answer(
    agent: &Rc<Agent>,
    rest: &str,
    request: &mut Request<Incoming>,
) -> Answer {
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let method = request.method().clone();
    match (method, parts.as_slice()) {
        (Method::POST, []) => start(agent, request).await,
        (Method::GET, []) => Ok(list(&agent.background).await),
        (Method::DELETE, []) => remove_all(agent).await,
        (Method::POST, ["stop"]) => stop_all(agent, request).await,
        (Method::GET, [name]) => {
            let process = agent.background.find(name)?;
            Ok(show(agent, &process, StatusCode::OK).await)
        }
        (Method::DELETE, [name]) => {
            let process = agent.background.find(name)?;
            remove(agent, vec![process]).await
        }
        (Method::POST, [name, "signal"]) => {
            let process = agent.background.find(name)?;
            signal(&process, request).await
        }
        (Method::POST, [name, "stop"]) => {
            let process = agent.background.find(name)?;
            let grace = native::body::<StopBody>(request).await?.grace()?;
            process.stop(grace).await;
            Ok(show(agent, &process, StatusCode::OK).await)
        }
        (Method::GET, [name, "log"]) => {
            let process = agent.background.find(name)?;
            reading::read(&process.log, request.uri().query(), request.headers()).await
        }
        (Method::GET, [name, "wait"]) => {
            let process = agent.background.find(name)?;
            wait::wait(agent, &process, request.uri().query()).await
        }
        (_, [] | [_] | [_, "signal" | "stop" | "log" | "wait"]) => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{} is not for this path", request.method()),
        )),
        _ => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {}", request.uri().path()),
        )),
    }
}

async fn show(agent: &Agent, process: &Background, status: StatusCode) -> Reply {
    reply::json(status, &agent.background.view(process).await)
}

async fn list(registry: &Registry) -> Reply {
    reply::json(
        StatusCode::OK,
        &json!({"processes": registry.views().await}),
    )
}

/// Does what must not be left half done when the client leaves.
async fn surely<T: 'static>(work: impl Future<Output = T> + 'static) -> Result<T, Problem> {
    tokio::task::spawn_local(work).await.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", error.to_string())
    })
}

async fn start(agent: &Rc<Agent>, request: &mut Request<Incoming>) -> Answer {
    let body: StartBody = native::body(request).await?;
    let asked = body.resolve(agent).await?;
    let starting = Rc::clone(agent);
    let process = surely(async move { Registry::start(&starting, asked).await }).await??;
    Ok(show(agent, &process, StatusCode::CREATED).await)
}

async fn signal(process: &Background, request: &mut Request<Incoming>) -> Answer {
    let number = native::body::<SignalBody>(request).await?.signal.number()?;
    if process.status.borrow().pid.is_none() {
        let message = format!("process '{}' does not run", process.name);
        let status = StatusCode::CONFLICT;
        return Err(Problem::new(status, "process_not_running", message));
    }
    process.order(Order::Signal(number));
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn stop_all(agent: &Agent, request: &mut Request<Incoming>) -> Answer {
    let grace: Duration = native::body::<StopBody>(request).await?.grace()?;
    let all = agent.background.all();
    for process in &all {
        process.order(Order::Stop { grace });
    }
    for process in &all {
        process.reaches(Phase::Gone).await;
    }
    Ok(list(&agent.background).await)
}

async fn remove(agent: &Rc<Agent>, processes: Vec<Rc<Background>>) -> Answer {
    let agent = Rc::clone(agent);
    surely(async move {
        // All at once; then one after the other for what is left to do.
        for process in &processes {
            let grace = REMOVAL_GRACE;
            process.order(Order::Stop { grace });
        }
        for process in processes {
            agent.background.remove(process).await;
        }
    })
    .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn remove_all(agent: &Rc<Agent>) -> Answer {
    remove(agent, agent.background.all()).await
}
