use super::*;
use proptest::prelude::*;

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(content)].concat()
}

fn name_extension(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &long(&[&[0][..], &long(name)].concat()))
}

fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(long(&extensions.concat()));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &long(part)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(extensions: &[Vec<u8>]) -> Result<Option<ClientHello>, HelloError> {
    parse(&records(&message(extensions), MAX_RECORD))
}

fn name_of(name: &[u8]) -> ServerName {
    hello(&[name_extension(name)]).unwrap().unwrap().server_name
}

proptest! {
    #[test]
    fn however_it_is_cut_it_reads_the_same(size in 1usize..300, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let alpn = extension(ALPN, &long(b"\x02h2\x08http/1.1"));
        let stream = records(&message(&[name_extension(b"A.example"), alpn]), size);
        for end in 0..stream.len() {
            prop_assert_eq!(parse(&stream[..end]), Ok(None));
        }
        let hello = parse(&[&stream[..], &rest].concat()).unwrap().unwrap();
        prop_assert_eq!(hello.server_name, ServerName::Name(Hostname::parse("a.example").unwrap()));
        prop_assert_eq!(hello.alpn, vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
        prop_assert_eq!((hello.encrypted, hello.length), (false, stream.len()));
    }

    #[test]
    fn never_panics(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..90, byte: u8) {
        let _ = parse(&noise);
        let _ = parse(&records(&[&[CLIENT_HELLO, 0, 0, 60][..], &noise].concat(), 50));
        let mut stream = records(&message(&[name_extension(b"a.example")]), MAX_RECORD);
        let at = at % stream.len();
        stream[at] = byte;
        let _ = parse(&stream);
    }
}

#[test]
fn a_name_that_is_none_is_not_taken_for_absent() {
    assert_eq!(hello(&[]).unwrap().unwrap().server_name, ServerName::Absent);
    for name in [
        &b"10.0.0.1"[..],
        b"",
        b"a.example\0.b",
        b"a.example.",
        b"\xff",
        b"a b",
    ] {
        assert_eq!(name_of(name), ServerName::Invalid, "{name:?}");
    }
}

#[test]
fn what_two_servers_could_read_differently_is_refused() {
    let one = name_extension(b"a.example");
    assert_eq!(
        hello(&[one.clone(), one.clone()]),
        Err(HelloError::Malformed)
    );
    let names = [&[0][..], &long(b"a.example"), &[0], &long(b"b.example")].concat();
    let two = extension(SERVER_NAME, &long(&names));
    assert_eq!(hello(&[two]), Err(HelloError::Malformed));
    let mut more = message(&[one]);
    more.push(0);
    assert_eq!(
        parse(&records(&more, MAX_RECORD)),
        Err(HelloError::Malformed)
    );
}

#[test]
fn what_is_hidden_is_noticed() {
    for kind in [ENCRYPTED_CLIENT_HELLO, ENCRYPTED_SERVER_NAME] {
        assert!(hello(&[extension(kind, b"x")]).unwrap().unwrap().encrypted);
    }
}

#[test]
fn other_protocols_are_told_apart_at_the_first_byte_and_length_is_bounded() {
    for bytes in [
        &b"GET"[..],
        b"SSH-",
        &[22, 2],
        &[21, 3, 1],
        &[0x80, 0x2e, 1],
    ] {
        assert_eq!(parse(bytes), Err(HelloError::NotTls), "{bytes:?}");
    }
    assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
    assert_eq!(parse(&[22, 3, 1, 0x40, 1]), Err(HelloError::Malformed));
    assert_eq!(parse(&[22, 3, 1, 0, 1, 2]), Err(HelloError::Malformed));
    assert_eq!(
        parse(&[22, 3, 1, 0, 4, 1, 1, 0, 0]),
        Err(HelloError::TooLong)
    );
}
