//! Opening a WebSocket (RFC 6455, section 4.2), and what its address asks for.

use super::command::Wanted;
use crate::http::body::ReplyBody;
use crate::http::native::Problem;
use crate::http::query::parameter;
use crate::http::reply::Reply;
use http::header::{HeaderMap, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::Error;
use wardian_wire::terminal::{cells, Size};

/// The only version of the protocol there is.
const VERSION: &str = "13";

/// What the address of a terminal asks for.
#[derive(Debug)]
pub(super) struct Asked {
    /// For a terminal that is not there yet.
    pub(super) wanted: Wanted,
    /// The size the client has, where it says so.
    pub(super) size: Option<Size>,
    /// Whether one is made where there is none.
    pub(super) create: bool,
}

/// Whether a request wants to change to WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let named = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    named.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The answer that changes to WebSocket, and the connection as it will be then.
///
/// # Errors
/// 400 `invalid_request` for a handshake that is none, 426 for one of another version.
pub(super) fn accept(request: &mut Request<Incoming>) -> Result<(Reply, OnUpgrade), Problem> {
    let answer = create_response_with_body(request, || ReplyBody::Whole(None));
    let answer = answer.map_err(|error| match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            let message = format!("WebSocket is spoken in version {VERSION} only");
            Problem::new(StatusCode::UPGRADE_REQUIRED, "invalid_request", message)
        }
        error => invalid(format!("no WebSocket handshake: {error}")),
    })?;
    Ok((answer, hyper::upgrade::on(request)))
}

/// Tells a client of another version which one to use.
pub(super) fn name_version(reply: &mut Reply) {
    if reply.status() == StatusCode::UPGRADE_REQUIRED {
        let version = HeaderValue::from_static(VERSION);
        reply.headers_mut().insert(SEC_WEBSOCKET_VERSION, version);
    }
}

/// Reads the query of a terminal's address.
///
/// # Errors
/// 400 `invalid_request` for a size that is none and text that is no UTF-8.
pub(super) fn asked(query: Option<&str>) -> Result<Asked, Problem> {
    let text = |name: &str| match parameter(query, name).map(String::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(invalid(format!("{name} is not UTF-8"))),
    };
    let side = |name: &str| match text(name)? {
        None => Ok(None),
        Some(given) => match given.parse().ok().and_then(cells) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!(
                "{name} must be a whole number of at least 1"
            ))),
        },
    };
    let (cols, rows) = (side("cols")?, side("rows")?);
    let first = Size::default();
    let size = Size {
        cols: cols.unwrap_or(first.cols),
        rows: rows.unwrap_or(first.rows),
    };
    let create = match text("create")?.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(invalid("create must be true or false")),
    };
    Ok(Asked {
        wanted: Wanted {
            argv: text("shell")?.map(|shell| vec![shell]),
            cwd: text("cwd")?,
            user: text("user")?,
            size,
            ..Wanted::default()
        },
        size: cols.and(rows).map(|_| size),
        create,
    })
}

pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_wanted() {
        let given = asked(Some("cols=100&rows=9999&shell=%2Fbin%2Fsh&create=false")).unwrap();
        assert_eq!(
            given.size,
            Some(Size {
                cols: 100,
                rows: 4096
            })
        );
        assert_eq!(given.wanted.argv, Some(vec!["/bin/sh".to_owned()]));
        assert!(!given.create);
        let plain = asked(None).unwrap();
        assert_eq!((plain.size, plain.create), (None, true));
        assert_eq!(plain.wanted.size, Size::default());
        for bad in [
            "cols=x",
            "rows=0",
            "cols=-1",
            "cwd=%ff",
            "create=maybe",
            "cols=1.5",
        ] {
            assert!(asked(Some(bad)).is_err(), "{bad}");
        }
    }
}
