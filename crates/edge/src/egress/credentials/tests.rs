//! Credentials of whole policies, put into whole requests.

use super::*;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{json, Value};
use std::time::UNIX_EPOCH;
use wardian_wire::egress::policy::Policy;

const GITHUB: &str = "wardian_placeholder_github_1";
const OTHER: &str = "wardian_placeholder_github_12";

/// A policy of one rule.
fn policy(allow: &Value) -> Arc<CompiledPolicy> {
    let placeholder =
        |name: &str, text: &str, value: &str| json!({"name": name, "text": text, "value": value});
    let mut action = json!({"do": "allow", "connect_to": null, "inject": [], "substitute": [],
        "handler": null, "redact": false});
    action
        .as_object_mut()
        .unwrap()
        .extend(allow.as_object().unwrap().clone());
    let rule = json!({"name": "r", "hosts": ["h"], "ports": [], "cidrs": [], "methods": [],
        "path": null, "action": action});
    let policy: Policy = serde_json::from_value(json!({
        "rules": [rule],
        "placeholders": [
            placeholder("GITHUB", GITHUB, "ghp_real+value"),
            placeholder("OTHER", OTHER, "other/real"),
        ],
    }))
    .unwrap();
    Arc::new(CompiledPolicy::new(policy).unwrap())
}

fn header(name: &str, value: &str) -> Value {
    let secrets = json!([{"name": "KEY", "value": value}]);
    json!({"into": "header", "name": name, "value": value, "secrets": secrets})
}

fn request(url: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = url.parse().unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

async fn apply(
    allow: &Value,
    request: Request<Full<Bytes>>,
) -> Result<Applied<Full<Bytes>>, CredentialError> {
    let credentials = Kept::default().of(&policy(allow))?;
    credentials.apply(0, request, UNIX_EPOCH).await
}

fn lines(applied: &Applied<Full<Bytes>>, name: &str) -> Vec<String> {
    let all = applied.request.headers().get_all(name);
    all.iter()
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn injection_replaces_every_line_of_the_name() {
    let allow = json!({"inject": [header("X-Key", "real")]});
    let sent = request(
        "http://h/",
        &[("x-key", "one"), ("x-key", "two"), ("x-more", "3")],
    );
    let applied = apply(&allow, sent).await.unwrap();
    assert_eq!(lines(&applied, "x-key"), ["real"]);
    assert!(applied.request.headers()["x-key"].is_sensitive());
    assert_eq!(lines(&applied, "x-more"), ["3"]);
    assert_eq!(applied.secrets, ["KEY"]);
    assert!(applied.redaction.is_none());
}

#[tokio::test]
async fn query_and_basic() {
    let secrets = json!([{"name": "KEY", "value": "a b&c"}]);
    let allow = json!({"inject": [
        {"into": "query", "name": "api key", "value": "a b&c", "secrets": secrets},
        {"into": "basic", "username": "me", "password": "a b&c", "secrets": secrets},
    ]});
    let sent = request(
        "http://h/p%2f?x=%41&api+key=1&%61pi%20key=2&y",
        &[("authorization", "Bearer x")],
    );
    let applied = apply(&allow, sent).await.unwrap();
    assert_eq!(
        applied.request.uri(),
        "http://h/p%2f?x=%41&api%20key=a%20b%26c&y"
    );
    assert_eq!(lines(&applied, "authorization"), ["Basic bWU6YSBiJmM="]);
}

#[tokio::test]
async fn framing_and_unfit_values_are_refused_without_the_value() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "te",
        "upgrade",
        "expect",
    ] {
        let error = apply(
            &json!({"inject": [header(name, "real")]}),
            request("/", &[]),
        )
        .await
        .unwrap_err();
        assert_eq!(error, CredentialError::Framing(name.to_ascii_lowercase()));
    }
    for injection in [header("x-key", "line\nbreak"), header("x key", "line")] {
        let error = apply(&json!({"inject": [injection]}), request("/", &[]))
            .await
            .unwrap_err();
        let message = format!("{error} {error:?}");
        assert!(
            message.contains("KEY") && !message.contains("line"),
            "{message}"
        );
    }
    let secrets = json!([{"name": "KEY", "value": "a:b"}]);
    let basic = json!({"into": "basic", "username": "a:b", "password": "", "secrets": secrets});
    let error = apply(&json!({"inject": [basic]}), request("/", &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, CredentialError::Value { .. }));
}

#[tokio::test]
async fn placeholders_are_swapped_where_the_rule_says() {
    let allow = json!({"substitute": ["GITHUB"]});
    let spelled: String = GITHUB.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let url = format!("http://h/?a={GITHUB}&b={spelled}x&c=%2f&{GITHUB}=1");
    let basic = basic::encoded(format!("me:{GITHUB}").as_bytes());
    let twice = format!("{GITHUB}, {GITHUB}; {OTHER}");
    let sent = request(
        &url,
        &[
            ("authorization", &basic),
            ("cookie", &twice),
            ("x-plain", "v"),
        ],
    );
    let applied = apply(&allow, sent).await.unwrap();
    let value = "ghp_real%2Bvalue";
    let expected = format!("http://h/?a={value}&b={value}x&c=%2f&{value}=1");
    assert_eq!(applied.request.uri().to_string(), expected);
    assert_eq!(
        lines(&applied, "authorization"),
        [basic::encoded(b"me:ghp_real+value")]
    );
    let cookie = format!("ghp_real+value, ghp_real+value; {OTHER}");
    assert_eq!(lines(&applied, "cookie"), [cookie]);
    assert!(applied.request.headers()["cookie"].is_sensitive());
    assert!(!applied.request.headers()["x-plain"].is_sensitive());
    assert_eq!(
        (applied.secrets, applied.strayed),
        (vec!["GITHUB".to_owned()], vec!["OTHER".to_owned()])
    );
}

#[tokio::test]
async fn placeholders_stay_where_they_do_not_belong() {
    let allow = json!({"substitute": ["GITHUB"]});
    for (url, headers) in [
        (format!("http://h/{GITHUB}"), vec![]),
        (
            format!("http://h/%{:02X}{}", GITHUB.as_bytes()[0], &GITHUB[1..]),
            vec![],
        ),
        ("http://h/".to_owned(), vec![("host", GITHUB)]),
    ] {
        let sent = request(&url, &headers);
        let credentials = Credentials::new(&policy(&json!({}))).unwrap();
        assert_eq!(
            credentials.stray(&sent.clone().into_parts().0),
            ["GITHUB"],
            "{url}"
        );
        let applied = apply(&allow, sent).await.unwrap();
        assert_eq!(applied.request.uri().to_string(), url);
        assert_eq!(applied.strayed, ["GITHUB"], "{url}");
        assert!(applied.secrets.is_empty(), "{url}");
    }
    let basic = basic::encoded(format!("{OTHER}:x").as_bytes());
    let sent = request("http://h/", &[("authorization", &basic)]);
    let applied = apply(&allow, sent).await.unwrap();
    assert_eq!(applied.strayed, ["OTHER"]);
    assert_eq!(lines(&applied, "authorization"), [basic]);
}

#[tokio::test]
async fn what_injection_replaces_is_no_attempt() {
    let allow = json!({"inject": [header("authorization", "Bearer real")]});
    let sent = request(
        "http://h/",
        &[("authorization", &format!("Bearer {GITHUB}"))],
    );
    let applied = apply(&allow, sent).await.unwrap();
    assert!(applied.strayed.is_empty());
}

#[tokio::test]
async fn a_placeholder_written_many_times_cannot_fill_the_memory() {
    let many = format!("{GITHUB} ").repeat(30_000);
    let sent = request("http://h/", &[("x-many", &many)]);
    let error = apply(&json!({"substitute": ["GITHUB"]}), sent)
        .await
        .unwrap_err();
    assert_eq!(error, CredentialError::TooLarge);
}

fn aws() -> Value {
    let secrets = json!([{"name": "AWS_SECRET", "value": "real-secret"}]);
    json!({"inject": [{"into": "sigv4", "access_key": "AKREAL", "secret_key": "real-secret",
        "session_token": null, "region": "us-east-1", "service": "dynamodb", "secrets": secrets}]})
}

#[tokio::test]
async fn a_body_whose_hash_nobody_says_is_held_and_goes_on_whole() {
    let mut sent = request("http://h/", &[("host", "h")]);
    *sent.body_mut() = Full::new(Bytes::from_static(b"{}"));
    let applied = apply(&aws(), sent).await.unwrap();
    let signature = lines(&applied, "authorization").remove(0);
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKREAL/19700101/us-east-1/dynamodb/")
    );
    assert_eq!(applied.secrets, ["AWS_SECRET"]);
    let body = applied.request.into_body();
    assert_eq!(body.size_hint().exact(), Some(2));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
    let mut sent = request("http://h/", &[("host", "h")]);
    *sent.body_mut() = Full::new(Bytes::from(vec![0; body::MAX_HELD + 1]));
    let error = apply(&aws(), sent).await.unwrap_err();
    assert!(error.to_string().contains("more than 16 MiB"), "{error}");
}

#[tokio::test]
async fn bodies_held_at_once_have_a_limit_together() {
    let credentials = Credentials::new(&policy(&aws())).unwrap();
    let large = || {
        let mut sent = request("http://h/", &[("host", "h")]);
        *sent.body_mut() = Full::new(Bytes::from(vec![0; body::MAX_HELD]));
        sent
    };
    let first = credentials.apply(0, large(), UNIX_EPOCH).await.unwrap();
    let _second = credentials.apply(0, large(), UNIX_EPOCH).await.unwrap();
    let error = credentials.apply(0, large(), UNIX_EPOCH).await.unwrap_err();
    assert!(error.to_string().contains("too many others"), "{error}");
    drop(first);
    credentials.apply(0, large(), UNIX_EPOCH).await.unwrap();
}

#[tokio::test]
async fn a_placeholder_in_the_signature_that_is_made_anew_is_no_attempt() {
    let zeros = "0".repeat(64);
    let given = format!("AWS4-HMAC-SHA256 Credential={GITHUB}/20130524/r/s3/aws4_request, SignedHeaders=host, Signature={zeros}");
    let headers = [
        ("host", "h"),
        ("x-amz-date", "20130524T000000Z"),
        ("authorization", given.as_str()),
    ];
    let applied = apply(&aws(), request("http://h/", &headers)).await.unwrap();
    assert!(applied.strayed.is_empty());
    assert!(!lines(&applied, "authorization")[0].contains(GITHUB));
}

fn redacting() -> Value {
    let secrets = json!([{"name": "KEY", "value": "pass/word"}]);
    json!({"redact": true, "substitute": ["GITHUB"], "inject": [
        {"into": "basic", "username": "me", "password": "pass/word", "secrets": secrets}]})
}

#[tokio::test]
async fn answers_are_masked_in_head_body_and_trailers() {
    let headers = [
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-"),
        ("if-range", "\"x\""),
    ];
    let applied = apply(&redacting(), request("http://h/", &headers))
        .await
        .unwrap();
    assert_eq!(lines(&applied, "accept-encoding"), ["identity"]);
    assert!(lines(&applied, "range").is_empty() && lines(&applied, "if-range").is_empty());
    let redaction = applied.redaction.unwrap();
    let answer = Response::builder()
        .header("x-echo", "Basic bWU6cGFzcy93b3Jk")
        .body(())
        .unwrap();
    let (mut head, ()) = answer.into_parts();
    redaction.head(&mut head).unwrap();
    assert_eq!(head.headers["x-echo"], "Basic ****************");
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("x-end"),
        HeaderValue::from_static("pass%2fword"),
    )]);
    let frames = [
        Frame::data(Bytes::from_static(b"a pass/")),
        Frame::data(Bytes::from_static(
            b"word \"pass\\/word\" ghp_real+value ghp_real%2Bval",
        )),
        Frame::data(Bytes::from_static(b"ue ghp")),
        Frame::trailers(trailers),
    ];
    let frames = frames.map(Ok::<_, std::io::Error>);
    let body = redaction.body(StreamBody::new(futures_util::stream::iter(frames)));
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-end"], "***********");
    let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    assert_eq!(
        text,
        "a ********* \"**********\" ************** **************** ghp"
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_masked_is_refused() {
    let applied = apply(&redacting(), request("http://h/", &[]))
        .await
        .unwrap();
    let redaction = applied.redaction.unwrap();
    for (status, coding, refused) in [
        (200, "gzip", Some(CredentialError::Encoded)),
        (200, "identity, br", Some(CredentialError::Encoded)),
        (206, "identity", Some(CredentialError::Partial)),
        (200, "Identity", None),
    ] {
        let answer = Response::builder()
            .status(status)
            .header("content-encoding", coding);
        let (mut head, ()) = answer.body(()).unwrap().into_parts();
        assert_eq!(redaction.head(&mut head).err(), refused, "{coding}");
    }
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_value() {
    let policy = policy(&redacting());
    let credentials = Kept::default().of(&policy).unwrap();
    let applied = credentials
        .apply(0, request("http://h/", &[]), UNIX_EPOCH)
        .await
        .unwrap();
    let body = applied
        .redaction
        .as_ref()
        .unwrap()
        .body(Full::<Bytes>::default());
    let printed = format!("{credentials:?} {policy:?} {applied:?} {body:?}");
    for value in ["pass", "real", "bWU6cGFzcy93b3Jk"] {
        assert!(!printed.contains(value), "{printed}");
    }
}
