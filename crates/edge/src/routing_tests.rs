use super::*;
use http::Request;
use proptest::prelude::*;

const ONE: &str = "aaaaaaaaaaaaaaaaaaa2";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbb3";

fn read(uri: &str, lines: &[(&str, &str)]) -> Result<Target, Refusal> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    route(&head, &Domain::parse("box.test").unwrap()).map(|routed| routed.target)
}

fn sandbox(id: &str, port: u16) -> Target {
    Target::Sandbox {
        id: SandboxId::parse(id).unwrap(),
        port,
    }
}

proptest! {
    #[test]
    fn a_header_never_redirects_a_preview(id in "[a-z2-7]{20}", port in 1u16..49983, other in "\\PC{0,24}", other_port in "[0-9]{0,6}") {
        let host = format!("{port}-{id}.box.test");
        let request = Request::builder().uri("/").header("host", &host)
            .header("wardian-sandbox-id", OTHER)
            .header("e2b-sandbox-port", &other_port)
            .header("e2b-sandbox-id", http::HeaderValue::from_bytes(other.as_bytes()).unwrap_or(HeaderValue::from_static(OTHER)));
        let (head, ()) = request.body(()).unwrap().into_parts();
        let routed = route(&head, &Domain::parse("box.test").unwrap());
        prop_assert_eq!(routed.map(|routed| routed.target), Ok(sandbox(&id, port)));
    }

    #[test]
    fn no_spelling_reaches_an_internal_path(name in "(init|freeze|upgrade)", mask in any::<u32>(), prefix in "(/|/{2,3}|/\\./|/x/\\.\\./)", suffix in "(|/|/x)") {
        let spelled: String = name.chars().enumerate().map(|(at, c)| match (mask >> (2 * at)) & 3 {
            0 => c.to_string(),
            1 => c.to_ascii_uppercase().to_string(),
            _ => format!("%{:02x}", c as u32),
        }).collect();
        let uri = format!("{prefix}{spelled}{suffix}");
        let answer = read(&uri, &[("host", "127.0.0.1"), ("wardian-sandbox-id", ONE)]);
        prop_assert_eq!(answer, Err(Refusal::Internal), "{}", uri);
    }
}

#[test]
fn header_pairs_count_on_the_nodes_own_names_only() {
    for host in [
        "127.0.0.1:7300",
        "localhost",
        "box.test",
        "sandbox.box.test",
        "[::1]",
    ] {
        let lines = [
            ("host", host),
            ("e2b-sandbox-id", ONE),
            ("e2b-sandbox-port", "8080"),
        ];
        assert_eq!(read("/", &lines), Ok(sandbox(ONE, 8080)), "{host}");
        let lines = [("host", host), ("wardian-sandbox-id", ONE)];
        assert_eq!(read("/", &lines), Ok(sandbox(ONE, AGENT_PORT)), "{host}");
    }
    for host in ["api.box.test", "elsewhere.test"] {
        let lines = [("host", host), ("e2b-sandbox-id", ONE)];
        assert_eq!(read("/", &lines), Err(Refusal::Misdirected), "{host}");
    }
}

#[test]
fn without_one_it_is_the_control_plane() {
    for host in ["127.0.0.1", "localhost:7300", "box.test", "api.box.test"] {
        assert_eq!(
            read("/init", &[("host", host)]),
            Ok(Target::ControlPlane),
            "{host}"
        );
    }
    assert_eq!(
        read("/", &[("host", "sandbox.box.test")]),
        Err(Refusal::Misdirected)
    );
}

#[test]
fn contradictions_are_refused() {
    let local = ("host", "localhost");
    for lines in [
        vec![
            local,
            ("wardian-sandbox-id", ONE),
            ("e2b-sandbox-id", OTHER),
        ],
        vec![
            local,
            ("wardian-sandbox-id", ONE),
            ("wardian-sandbox-id", ONE),
        ],
        vec![local, ("wardian-sandbox-port", "80")],
        vec![
            local,
            ("wardian-sandbox-id", ONE),
            ("wardian-sandbox-port", "080"),
        ],
        vec![
            local,
            ("wardian-sandbox-id", ONE),
            ("wardian-sandbox-port", "0"),
        ],
        vec![
            local,
            ("wardian-sandbox-id", ONE),
            ("wardian-sandbox-port", "65536"),
        ],
        vec![local, ("host", "localhost")],
        vec![
            local,
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
        ],
        vec![],
        vec![("host", "user@localhost")],
    ] {
        assert!(
            matches!(read("/", &lines), Err(Refusal::Invalid(_))),
            "{lines:?}"
        );
    }
    let lines = [("host", "localhost")];
    assert!(matches!(
        read("http://box.test/", &lines),
        Err(Refusal::Invalid(_))
    ));
    assert_eq!(read("http://LOCALHOST/", &lines), Ok(Target::ControlPlane));
}

#[test]
fn an_id_of_wrong_form_is_a_sandbox_that_is_not_there() {
    let lines = [("host", "localhost"), ("e2b-sandbox-id", "Debug_1")];
    assert_eq!(
        read("/", &lines),
        Err(Refusal::Gone {
            sandbox: "Debug_1".into()
        })
    );
}

#[test]
fn internal_paths_are_only_those_of_the_agent() {
    let agent = [("host", "localhost"), ("e2b-sandbox-id", ONE)];
    assert_eq!(read("/initial", &agent), Ok(sandbox(ONE, AGENT_PORT)));
    let port = format!("80-{ONE}.box.test");
    assert_eq!(read("/init", &[("host", &port)]), Ok(sandbox(ONE, 80)));
}

proptest! {
    #[test]
    fn no_spelling_reaches_what_only_the_edge_may_ask(mask in any::<u32>(), prefix in "(/|/{2,3}|/\\./|/x/\\.\\./|/%2f)") {
        let spelled: String = "internal".chars().enumerate().map(|(at, c)| match (mask >> (2 * at)) & 3 {
            0 => c.to_string(),
            1 => c.to_ascii_uppercase().to_string(),
            _ => format!("%{:02x}", c as u32),
        }).collect();
        let uri = format!("{prefix}{spelled}/authorise");
        let answer = read(&uri, &[("host", "127.0.0.1")]);
        prop_assert_eq!(answer, Err(Refusal::Internal), "{}", uri);
    }
}
