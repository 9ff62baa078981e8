//! As much of DNS as a sandbox's resolver speaks: one question in, at most one address out
//! (RFC 1035, 4; RFC 6891 for the size of answers; RFC 8914 for why there is none).

use crate::egress::hostname::Hostname;
use std::net::Ipv4Addr;

/// The longest question that is read, in bytes.
pub const MAX_QUERY: usize = 4096;
/// How long an answer may be remembered, in seconds.
pub const TTL: u32 = 30;

const HEAD: usize = 12;
const INTERNET: u16 = 1;
const IS_ANSWER: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const OPT: u16 = 41;
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const UDP_SIZE: u16 = 1232;

/// Types of records.
pub const A: u16 = 1;
pub const PTR: u16 = 12;
pub const ANY: u16 = 255;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its first bytes: what an answer begins with.
    head: [u8; 3],
    /// The question as it came, to be said back.
    question: Vec<u8>,
    pub name: Asked,
    pub kind: u16,
    /// Whether the asker understands more than RFC 1035.
    extended: bool,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Host(Hostname),
    /// An address, turned around (`4.3.2.1.in-addr.arpa`).
    Reverse(Ipv4Addr),
    /// A name that no host can have, shown so that people can read it.
    Invalid(String),
}

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Address(Ipv4Addr),
    Name(Hostname),
    /// The name is there, and has no record of this type.
    Nothing,
    /// There is no such name; `blocked`: because a policy says so.
    NoSuchName {
        blocked: bool,
    },
    NotImplemented,
    Malformed,
}

/// Why a message is no question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidQuery {
    /// Nothing is to be said to it.
    Ignored,
    /// This is.
    Answered(Vec<u8>),
}

impl Query {
    /// Reads a message.
    ///
    /// # Errors
    /// [`InvalidQuery`] unless it is one plain question of class IN.
    pub fn parse(message: &[u8]) -> Result<Self, InvalidQuery> {
        let Some(head) = message.first_chunk::<HEAD>() else {
            return Err(InvalidQuery::Ignored);
        };
        if message.len() > MAX_QUERY || head[2] & IS_ANSWER != 0 {
            return Err(InvalidQuery::Ignored);
        }
        let start = [head[0], head[1], head[2]];
        let refused = |code| InvalidQuery::Answered(empty(start, code).to_vec());
        if head[2] & OPCODE != 0 {
            return Err(refused(Code::NotImplemented));
        }
        let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if (count(4), count(6), count(8)) != (1, 0, 0) || count(10) > 2 {
            return Err(refused(Code::Malformed));
        }
        let question = read_question(&message[HEAD..]).ok_or_else(|| refused(Code::Malformed))?;
        let (labels, kind, class, length) = question;
        if class != INTERNET {
            return Err(refused(Code::NotImplemented));
        }
        let rest = &message[HEAD + length..];
        Ok(Self {
            head: start,
            question: message[HEAD..HEAD + length].to_vec(),
            name: read_name(&labels, kind),
            kind,
            // An OPT record begins with the root's name and its type.
            extended: count(10) > 0 && rest.starts_with(&[0, 0, OPT as u8]),
        })
    }

    /// Writes the answer.
    #[must_use]
    pub fn answer(&self, answer: &Answer) -> Vec<u8> {
        let code = match answer {
            Answer::Address(_) | Answer::Name(_) | Answer::Nothing => Code::Fine,
            Answer::NoSuchName { .. } => Code::NoSuchName,
            Answer::NotImplemented => Code::NotImplemented,
            Answer::Malformed => Code::Malformed,
        };
        let mut message = empty(self.head, code).to_vec();
        message[5] = 1;
        message.extend_from_slice(&self.question);
        let data = match answer {
            Answer::Address(address) => Some((A, address.octets().to_vec())),
            Answer::Name(name) => Some((PTR, written(name))),
            _ => None,
        };
        if let Some((kind, data)) = data {
            message[7] = 1;
            // The name is the question's, which begins behind the head.
            message.extend_from_slice(&[0xc0, HEAD as u8]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&INTERNET.to_be_bytes());
            message.extend_from_slice(&TTL.to_be_bytes());
            message.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            message.extend_from_slice(&data);
        }
        if self.extended {
            let blocked = *answer == Answer::NoSuchName { blocked: true };
            message[11] = 1;
            append_extension(&mut message, blocked);
        }
        message
    }
}

#[derive(Clone, Copy)]
enum Code {
    Fine = 0,
    Malformed = 1,
    NoSuchName = 3,
    NotImplemented = 4,
}

/// An answer that holds nothing yet.
fn empty(start: [u8; 3], code: Code) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..2].copy_from_slice(&start[..2]);
    head[2] = IS_ANSWER | (start[2] & (OPCODE | RECURSION_DESIRED));
    head[3] = RECURSION_AVAILABLE | code as u8;
    head
}

fn append_extension(message: &mut Vec<u8>, blocked: bool) {
    message.push(0);
    message.extend_from_slice(&OPT.to_be_bytes());
    message.extend_from_slice(&UDP_SIZE.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    if blocked {
        message.extend_from_slice(&6_u16.to_be_bytes());
        for field in [EXTENDED_ERROR, 2, BLOCKED] {
            message.extend_from_slice(&field.to_be_bytes());
        }
    } else {
        message.extend_from_slice(&[0; 2]);
    }
}

/// Labels, type, class and the length of it all; no pointers, which no question needs.
fn read_question(bytes: &[u8]) -> Option<(Vec<&[u8]>, u16, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || at + length > 255 {
            return None;
        }
        labels.push(bytes.get(at..at + length)?);
        at += length;
    }
    let [kind_high, kind_low, class_high, class_low] = *bytes.get(at..)?.first_chunk()?;
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    let class = u16::from_be_bytes([class_high, class_low]);
    Some((labels, kind, class, at + 4))
}

fn read_name(labels: &[&[u8]], kind: u16) -> Asked {
    if kind == PTR {
        if let Some(address) = read_reverse(labels) {
            return Asked::Reverse(address);
        }
    }
    let shown = || {
        let shown: Vec<String> = labels
            .iter()
            .map(|l| l.escape_ascii().to_string())
            .collect();
        shown.join(".")
    };
    // A dot within a label would make two names of one.
    let plain = labels.iter().all(|label| !label.contains(&b'.'));
    let text = labels.join(&b'.');
    match std::str::from_utf8(&text).ok().filter(|_| plain) {
        Some(text) => Hostname::parse(text).map_or_else(|_| Asked::Invalid(shown()), Asked::Host),
        None => Asked::Invalid(shown()),
    }
}

fn read_reverse(labels: &[&[u8]]) -> Option<Ipv4Addr> {
    let [d, c, b, a, zone, arpa] = labels else {
        return None;
    };
    if !zone.eq_ignore_ascii_case(b"in-addr") || !arpa.eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    let byte = |label: &[u8]| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
    Some(Ipv4Addr::new(byte(a)?, byte(b)?, byte(c)?, byte(d)?))
}

fn written(name: &Hostname) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.as_str().split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(labels: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in labels {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn an_address_is_answered_with_the_question() {
        let asked = Query::parse(&query(&[b"Api", b"example"], A)).unwrap();
        assert_eq!(
            asked.name,
            Asked::Host(Hostname::parse("api.example").unwrap())
        );
        let answer = asked.answer(&Answer::Address([198, 18, 1, 2].into()));
        assert_eq!(
            answer[..12],
            [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]
        );
        // The case of the question is kept: some resolvers check it.
        assert_eq!(answer[12..29], *b"\x03Api\x07example\0\0\x01\0\x01");
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 198, 18, 1, 2];
        assert_eq!(answer[29..45], record);
        assert_eq!(answer[45..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_blocked_says_so() {
        let asked = Query::parse(&query(&[b"x"], 28)).unwrap();
        let answer = asked.answer(&Answer::NoSuchName { blocked: true });
        assert_eq!(answer[3], 0x83);
        assert_eq!(answer[answer.len() - 8..], [0, 6, 0, 15, 0, 2, 0, 15]);
    }

    #[test]
    fn names_that_can_be_read_in_two_ways_are_invalid() {
        let odd: [&[&[u8]]; 5] = [
            &[b"evil\0", b"example"],
            &[b"a.example", b"test"],
            &[b"\xff"],
            &[b"10", b"0", b"0", b"1"],
            &[],
        ];
        for labels in odd {
            let asked = Query::parse(&query(labels, A)).unwrap();
            assert!(matches!(asked.name, Asked::Invalid(_)), "{labels:?}");
        }
        let asked = Query::parse(&query(
            &[b"2", b"1", b"18", b"198", b"in-addr", b"ARPA"],
            PTR,
        ));
        assert_eq!(asked.unwrap().name, Asked::Reverse([198, 18, 1, 2].into()));
    }

    #[test]
    fn what_is_no_question_gets_no_answer_or_an_empty_one() {
        let fine = query(&[b"a"], A);
        let changed = |at: usize, to: u8| {
            let mut bytes = fine.clone();
            bytes[at] = to;
            Query::parse(&bytes)
        };
        assert_eq!(changed(2, 0x80), Err(InvalidQuery::Ignored));
        let code = |at, to| match changed(at, to) {
            Err(InvalidQuery::Answered(bytes)) => bytes[3] & 15,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(2, 0x28), 4);
        assert_eq!(code(5, 2), 1);
        assert_eq!(code(7, 1), 1);
        assert_eq!(code(12, 0xc0), 1);
        assert_eq!(code(18, 3), 4);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(query) = Query::parse(&bytes) {
                let answer = query.answer(&Answer::Address([198, 18, 0, 1].into()));
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert!(answer.len() <= 512);
            }
        }

        #[test]
        fn reads_names_as_they_are(labels in proptest::collection::vec("[a-z][a-z0-9-]{0,20}", 1..6)) {
            let parts: Vec<&[u8]> = labels.iter().map(String::as_bytes).collect();
            let asked = Query::parse(&query(&parts, A)).unwrap();
            prop_assert_eq!(asked.name, Asked::Host(Hostname::parse(&labels.join(".")).unwrap()));
        }
    }
}
