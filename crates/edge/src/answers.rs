//! The edge's own answers as HTTP.

use crate::activity::InFlight;
use crate::body::ResponseBody;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use wardian_wire::gateway::Refusal;

/// Whether the caller is a browser that shows pages.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("text/html"))
    })
}

/// The answer for a refusal; `page`: as HTML.
pub(crate) fn answer(refusal: &Refusal, page: bool, flight: InFlight) -> Response<ResponseBody> {
    // The native API speaks JSON to everyone.
    let page = page && !matches!(refusal, Refusal::NotRunning { .. });
    let (kind, body) = if page {
        ("text/html; charset=utf-8", Bytes::from(refusal.html()))
    } else {
        ("application/json", Bytes::from(refusal.json()))
    };
    let mut response = Response::new(ResponseBody::Own {
        body: Full::new(body),
        _flight: Some(flight),
    });
    *response.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if page {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *";
        let policy = HeaderValue::from_static(policy);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        let value = HeaderValue::from_static("no-referrer");
        headers.insert(header::REFERRER_POLICY, value);
    }
    match refusal {
        refusal if refusal.again().is_some() => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::ConnectRefused => {
            headers.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        // What remains unread may be anything, so no next request is looked for behind it.
        Refusal::Invalid(_) | Refusal::HeadersTooLarge => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
