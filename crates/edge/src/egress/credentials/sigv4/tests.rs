//! The published examples, and what AWS's own client library signs.

use super::super::CredentialError;
use super::*;
use http::Request;
use proptest::prelude::*;

/// Method, address, headers and signature.
type Example<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

const VECTORS: &str = include_str!("../../../../../../tests/vectors/sigv4.json");
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn signer(access_key: &str, secret_key: &str, token: Option<&str>) -> Signer {
    Signer::new(&Injection::Sigv4 {
        access_key: access_key.into(),
        secret_key: secret_key.into(),
        session_token: token.map(str::to_owned),
        region: None,
        service: None,
        secrets: Vec::new(),
    })
    .unwrap()
}

fn documented() -> Signer {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    signer("AKIAIOSFODNN7EXAMPLE", secret, None)
}

fn head(method: &str, url: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn sign_anew(signer: &Signer, head: &mut Parts, body: &[u8]) -> Result<(), CredentialError> {
    let given = Given::take(head)?;
    let draft = signer.draft(given.as_ref(), head, body.is_empty(), UNIX_EPOCH)?;
    let hash = (draft.payload == Payload::Body).then(|| Sha256::new_with_prefix(body));
    draft.sign(head, hash).map(|_| ())
}

fn authorization(head: &Parts) -> &str {
    head.headers["authorization"].to_str().unwrap()
}

fn dummy(scope: &str, signed: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=dummy/{scope}/aws4_request,SignedHeaders={signed},Signature={ZEROS}")
}

#[test]
fn the_examples_of_the_s3_reference() {
    let empty = key::EMPTY;
    let put = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let examples: [Example; 4] = [
        (
            "GET",
            "/test.txt",
            &[("range", "bytes=0-9"), ("x-amz-content-sha256", empty)],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("x-amz-content-sha256", put),
            ],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            &[("x-amz-content-sha256", empty)],
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            &[("x-amz-content-sha256", empty)],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (method, path, headers, signature) in examples {
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        names.extend(["host", "x-amz-date"]);
        let given = dummy("20130524/us-east-1/s3", &names.join(";"));
        let mut head = head(method, path, headers);
        for (name, value) in [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", given.as_str()),
        ] {
            head.headers.insert(name, value.parse().unwrap());
        }
        sign_anew(&documented(), &mut head, b"").unwrap();
        names.sort_unstable();
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        assert_eq!(authorization(&head), expected, "{path}");
        assert!(head.headers["authorization"].is_sensitive());
    }
}

#[test]
fn the_presigned_example_of_the_s3_reference() {
    let url = format!(
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=dummy%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature={ZEROS}"
    );
    let mut head = head("GET", &url, &[]);
    sign_anew(&documented(), &mut head, b"").unwrap();
    let expected = "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400\
         &X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert_eq!(head.uri.query(), Some(expected));
    assert!(!head.headers.contains_key("authorization"));
}

#[test]
fn signs_as_the_client_library_does() {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let keys = &vectors["keys"];
    for vector in vectors["requests"].as_array().unwrap() {
        let token = vector["token"].as_str();
        let signer = signer(
            &text(&keys["access_key"]),
            &text(&keys["secret_key"]),
            token,
        );
        let lines: Vec<(String, String)> =
            serde_json::from_value(vector["headers"].clone()).unwrap();
        let lines: Vec<(&str, &str)> = lines
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let url = text(&vector["url"]);
        let signed = head(&text(&vector["method"]), &url, &lines);
        let mut again = signed.clone();
        again
            .headers
            .insert(TOKEN, HeaderValue::from_static("worthless"));
        sign_anew(&signer, &mut again, text(&vector["body"]).as_bytes()).unwrap();
        let last = |head: &Parts| {
            let header = head.headers.get("authorization");
            let text = header.map(|line| line.to_str().unwrap().to_owned());
            text.unwrap_or_else(|| head.uri.query().unwrap().to_owned())
        };
        let signature = |head: &Parts| last(head).rsplit('=').next().unwrap().to_owned();
        assert_eq!(signature(&again), signature(&signed), "{url}");
        if url.contains("X-Amz-Signature") {
            assert!(!again.headers.contains_key(TOKEN), "{url}");
        } else {
            assert_eq!(
                again.headers.get(TOKEN).map(|t| t.to_str().unwrap()),
                token,
                "{url}"
            );
        }
    }
}

#[test]
fn signs_only_what_is_still_there() {
    let signed = "accept;connection;content-length;expect;host;te;x-amz-date;x-gone";
    let given = dummy("20130524/us-east-1/s3", signed);
    let mut head = head(
        "PUT",
        "/",
        &[
            ("host", "h"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-acl", "private"),
            ("accept", "*/*"),
            ("te", "trailers"),
            ("content-length", "2"),
            ("authorization", &given),
        ],
    );
    sign_anew(&documented(), &mut head, b"ab").unwrap();
    let names = "accept;content-length;host;x-amz-acl;x-amz-content-sha256;x-amz-date";
    assert!(authorization(&head).contains(&format!("SignedHeaders={names},")));
    assert_eq!(head.headers[PAYLOAD], UNSIGNED);
}

#[test]
fn without_a_signature_the_rule_must_say_where() {
    let mut bare = head("GET", "https://h/", &[("authorization", "Bearer x")]);
    let refused = sign_anew(&documented(), &mut bare, b"").unwrap_err();
    assert!(refused
        .to_string()
        .contains("give the rule region and service"));
    let signer = Signer {
        region: Some("us-east-1".into()),
        service: Some("s3".into()),
        ..documented()
    };
    let mut bare = head("GET", "https://h/", &[("authorization", "Bearer x")]);
    sign_anew(&signer, &mut bare, b"").unwrap();
    assert_eq!(bare.headers[DATE], "19700101T000000Z");
    assert!(
        authorization(&bare).contains("/19700101/us-east-1/s3/aws4_request, SignedHeaders=host;")
    );
}

#[test]
fn what_is_malformed_is_refused() {
    let good = dummy("20130524/us-east-1/s3", "host");
    let date = "20130524T000000Z";
    for (authorization, date) in [
        (good.replace("HMAC-SHA256", "ECDSA-P256-SHA256"), date),
        (good.replace("Credential", "Credentials"), date),
        (good.replace("aws4_request", "aws5_request"), date),
        (good.replace("us-east-1", "us east"), date),
        (good.replace("20130524", "2013052"), date),
        (good.replace("=host", "=Host"), date),
        (good.replace("=host", "="), date),
        (good.replace(ZEROS, "00"), date),
        (format!("{good},Signature={ZEROS}"), date),
        (good.replace(",Signature", ";Signature"), date),
        (good.clone(), "20130525T000000Z"),
        (good.clone(), "2013-05-24"),
        (good.clone(), ""),
    ] {
        let headers = [
            ("host", "h"),
            ("x-amz-date", date),
            ("authorization", &authorization),
        ];
        let mut head = head("GET", "/", &headers);
        let error = sign_anew(&documented(), &mut head, b"").unwrap_err();
        assert!(
            matches!(error, CredentialError::Signature(_)),
            "{authorization}: {error}"
        );
    }
    let headers = [
        ("host", "h"),
        ("x-amz-date", date),
        ("authorization", &good),
    ];
    for (name, value) in [
        ("authorization", good.as_str()),
        ("x-amz-date", date),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-EVENTS"),
    ] {
        let mut head = head("GET", "/", &headers);
        head.headers.append(name, value.parse().unwrap());
        assert!(sign_anew(&documented(), &mut head, b"").is_err(), "{name}");
    }
    let mut both = head("GET", &format!("/?X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential=k/20130524/r/s/aws4_request&X-Amz-Date={date}&X-Amz-SignedHeaders=host&X-Amz-Signature={ZEROS}"), &headers);
    assert!(sign_anew(&documented(), &mut both, b"").is_err());
}

fn chunk(data: &[u8], signature: &str) -> Vec<u8> {
    let first = format!("{:x};chunk-signature={signature}\r\n", data.len());
    [first.as_bytes(), data, b"\r\n"].concat()
}

/// The published example of an upload in chunks, with and without a trailer.
fn uploaded(trailer: bool, signatures: [&str; 4]) -> Vec<u8> {
    let mut body = chunk(&[b'a'; 65_536], signatures[0]);
    body.extend(chunk(&[b'a'; 1024], signatures[1]));
    body.extend(chunk(b"", signatures[2]));
    if trailer {
        body.truncate(body.len() - 2);
        let lines = [
            "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:",
            signatures[3],
            "\r\n\r\n",
        ];
        body.extend(lines.concat().into_bytes());
    }
    body
}

fn resigner(trailer: bool) -> Resigner {
    let signed = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class";
    let given = dummy("20130524/us-east-1/s3", signed);
    let mut head = head(
        "PUT",
        "/examplebucket/chunkObject.txt",
        &[
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("authorization", &given),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
        ],
    );
    let (kind, name, value) = if trailer {
        (
            chunks::PAYLOAD_AND_TRAILER,
            "x-amz-trailer",
            "x-amz-checksum-crc32c",
        )
    } else {
        (chunks::PAYLOAD, "content-length", "66824")
    };
    head.headers.insert(PAYLOAD, HeaderValue::from_static(kind));
    head.headers.insert(name, HeaderValue::from_static(value));
    let given = Given::take(&mut head).unwrap();
    let draft = documented()
        .draft(given.as_ref(), &mut head, false, UNIX_EPOCH)
        .unwrap();
    let resigner = draft.sign(&mut head, None).unwrap().unwrap();
    let seed = if trailer {
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    } else {
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    };
    assert!(
        authorization(&head).ends_with(seed),
        "{}",
        authorization(&head)
    );
    resigner
}

const CHUNKS: [&str; 4] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    "",
];
const CHUNKS_AND_TRAILER: [&str; 4] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
];

fn through(mut resigner: Resigner, body: &[u8], size: usize) -> Result<Vec<u8>, CredentialError> {
    let mut sent = Vec::new();
    for piece in body.chunks(size) {
        sent.extend_from_slice(&resigner.push(piece)?);
    }
    resigner.finish()?;
    Ok(sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_published_chunks_however_they_are_cut(trailer: bool, size in 1..70_000_usize) {
        let signatures = if trailer { CHUNKS_AND_TRAILER } else { CHUNKS };
        let body = uploaded(trailer, [ZEROS; 4]);
        let sent = through(resigner(trailer), &body, size).unwrap();
        prop_assert!(sent == uploaded(trailer, signatures));
    }

    #[test]
    fn no_body_makes_it_panic(trailer: bool, body in "([0-9a-f;\r\n]|;chunk-signature=|:|x-amz-trailer-signature){0,60}") {
        let _ = through(resigner(trailer), body.as_bytes(), 7);
    }
}

#[test]
fn an_empty_line_before_the_trailer_stays() {
    let body = String::from_utf8(uploaded(true, [ZEROS; 4])).unwrap();
    let with_line = |body: &str| body.replace("x-amz-checksum", "\r\nx-amz-checksum");
    let expected = with_line(&String::from_utf8(uploaded(true, CHUNKS_AND_TRAILER)).unwrap());
    let sent = through(resigner(true), with_line(&body).as_bytes(), 1000).unwrap();
    assert!(sent == expected.as_bytes());
}

#[test]
fn malformed_chunks_end_the_body() {
    let whole = uploaded(false, [ZEROS; 4]);
    let mut more = whole.clone();
    more.extend_from_slice(b"\r\nmore");
    let mut wrong_size = whole.clone();
    wrong_size[4] = b'1';
    for (body, why) in [
        (whole[..whole.len() - 1].to_vec(), "too early"),
        (whole[..66_000].to_vec(), "too early"),
        (Vec::new(), "too early"),
        (more, "something follows"),
        (wrong_size, "size it says"),
        (
            b"100001;chunk-signature="
                .iter()
                .chain(ZEROS.as_bytes())
                .chain(b"\r\n")
                .copied()
                .collect(),
            "1 MiB",
        ),
        (vec![b'0'; 200], "too long"),
        (b"5\r\nhello\r\n".to_vec(), "size and signature"),
        (b";chunk-signature=0\r\n".to_vec(), "size and signature"),
    ] {
        let error = through(resigner(false), &body, 4096).unwrap_err();
        assert!(error.to_string().contains(why), "{error} is not: {why}");
    }
    let trailer = uploaded(true, [ZEROS; 4]);
    let colonless = String::from_utf8(trailer)
        .unwrap()
        .replace("crc32c:", "crc32c");
    assert!(through(resigner(true), colonless.as_bytes(), 4096).is_err());
}
