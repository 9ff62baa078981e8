//! multipart/form-data (RFC 7578), read as it arrives: a part's content is handed on in pieces,
//! never kept whole.

/// The most bytes one part's headers may have.
pub const MAX_HEADERS: usize = 16 * 1024;

/// What was found next in the body.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(Part),
    /// A piece of the part's content.
    Data(Vec<u8>),
    /// The part is complete.
    PartEnd,
    /// The body is complete; what follows is ignored.
    End,
}

/// What a part's headers say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub name: Option<Vec<u8>>,
    pub filename: Option<Vec<u8>>,
}

/// A body that is not multipart as its boundary says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    #[error("multipart body has no boundary in its Content-Type")]
    NoBoundary,
    #[error("multipart part headers are longer than {MAX_HEADERS} bytes")]
    LongHeaders,
    #[error("multipart body is malformed: {0}")]
    Malformed(&'static str),
}

/// The boundary in a `Content-Type: multipart/form-data; boundary=…` header.
///
/// # Errors
/// [`MultipartError::NoBoundary`] if there is none of 1 to 70 bytes.
pub fn boundary(content_type: &str) -> Result<&str, MultipartError> {
    content_type
        .split(';')
        .skip(1)
        .filter_map(|p| p.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|b| (1..=70).contains(&b.len()))
        .ok_or(MultipartError::NoBoundary)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    AfterBoundary,
    Headers,
    Content,
    Done,
}

/// Splits a growing body into [`Event`]s.
#[derive(Debug)]
pub struct Parser {
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
}

impl Parser {
    /// A parser for bodies cut by `boundary`.
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary may stand at the very start, without the line break before it.
            buffer: b"\r\n".to_vec(),
            state: State::Preamble,
        }
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Done {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes what comes next, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`MultipartError`]; the body can't be read on after that.
    pub fn next_event(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::Preamble => match find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        self.buffer.drain(..at + self.delimiter.len());
                        self.state = State::AfterBoundary;
                    }
                    None => {
                        self.keep_tail();
                        return Ok(None);
                    }
                },
                State::AfterBoundary => {
                    if self.buffer.len() < 2 {
                        return Ok(None);
                    }
                    if self.buffer.starts_with(b"--") {
                        self.state = State::Done;
                        self.buffer = Vec::new();
                        return Ok(Some(Event::End));
                    }
                    // Blanks between boundary and line end are allowed and never sent.
                    let Some(line) = find(&self.buffer, b"\r\n") else {
                        return self.wait();
                    };
                    if self.buffer[..line].iter().any(|b| !b" \t".contains(b)) {
                        return Err(MultipartError::Malformed("text after a boundary"));
                    }
                    self.buffer.drain(..line);
                    self.state = State::Headers;
                }
                State::Headers => {
                    let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
                        return self.wait();
                    };
                    if end > MAX_HEADERS {
                        return Err(MultipartError::LongHeaders);
                    }
                    let part = part(&self.buffer[..end]);
                    self.buffer.drain(..end + 4);
                    self.state = State::Content;
                    return Ok(Some(Event::Part(part)));
                }
                State::Content => return Ok(self.content()),
                State::Done => return Ok(None),
            }
        }
    }

    /// Whether the closing boundary has been seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn wait(&self) -> Result<Option<Event>, MultipartError> {
        if self.buffer.len() > MAX_HEADERS + 4 {
            return Err(MultipartError::LongHeaders);
        }
        Ok(None)
    }

    fn content(&mut self) -> Option<Event> {
        match find(&self.buffer, &self.delimiter) {
            Some(0) => {
                self.buffer.drain(..self.delimiter.len());
                self.state = State::AfterBoundary;
                Some(Event::PartEnd)
            }
            Some(at) => Some(Event::Data(self.buffer.drain(..at).collect())),
            None => {
                let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                (safe > 0).then(|| Event::Data(self.buffer.drain(..safe).collect()))
            }
        }
    }

    fn keep_tail(&mut self) {
        let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
        self.buffer.drain(..safe);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|&b| b == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn part(headers: &[u8]) -> Part {
    let mut part = Part::default();
    let lines = headers.split(|&b| b == b'\n');
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        if line[..colon]
            .trim_ascii()
            .eq_ignore_ascii_case(b"content-disposition")
        {
            disposition(&line[colon + 1..], &mut part);
        }
    }
    part
}

/// Reads `form-data; name="file"; filename="a b.txt"`, values quoted or not. In quotes a
/// backslash protects a quote or a backslash, and browsers write a quote as `%22`.
fn disposition(value: &[u8], part: &mut Part) {
    let mut rest = value;
    while let Some(semicolon) = rest.iter().position(|&b| b == b';') {
        rest = rest[semicolon + 1..].trim_ascii_start();
        let Some(equals) = rest.iter().position(|&b| b == b'=' || b == b';') else {
            return;
        };
        if rest[equals] == b';' {
            rest = &rest[equals..];
            continue;
        }
        let key = rest[..equals].trim_ascii().to_ascii_lowercase();
        let (text, after) = parameter(&rest[equals + 1..]);
        rest = after;
        match key.as_slice() {
            b"name" => part.name = Some(text),
            b"filename" => part.filename = Some(text),
            _ => {}
        }
    }
}

fn parameter(input: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = input.strip_prefix(b"\"") else {
        let end = input.iter().position(|&b| b == b';').unwrap_or(input.len());
        return (input[..end].trim_ascii().to_vec(), &input[end..]);
    };
    let mut text = Vec::new();
    let mut at = 0;
    while at < quoted.len() {
        match quoted[at] {
            b'"' => return (text, &quoted[at + 1..]),
            b'\\' if matches!(quoted.get(at + 1), Some(b'"' | b'\\')) => {
                text.push(quoted[at + 1]);
                at += 2;
            }
            b'%' if quoted[at..].starts_with(b"%22") => {
                text.push(b'"');
                at += 3;
            }
            byte => {
                text.push(byte);
                at += 1;
            }
        }
    }
    (text, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(body: &[u8], cut: usize) -> Result<Vec<(Part, Vec<u8>)>, MultipartError> {
        let mut parser = Parser::new("XX");
        let mut parts: Vec<(Part, Vec<u8>)> = Vec::new();
        for piece in body.chunks(cut) {
            parser.feed(piece);
            while let Some(event) = parser.next_event()? {
                match event {
                    Event::Part(part) => parts.push((part, Vec::new())),
                    Event::Data(data) => parts.last_mut().unwrap().1.extend(data),
                    Event::PartEnd | Event::End => {}
                }
            }
        }
        assert!(parser.is_done());
        Ok(parts)
    }

    fn body(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (i, content) in contents.iter().enumerate() {
            body.extend(format!("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{i}\"\r\nContent-Type: a/b\r\n\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--XX--\r\n");
        body
    }

    proptest! {
        #[test]
        fn contents_survive_any_cutting(
            contents in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-Xab".to_vec()), 0..40), 0..4),
            cut in 1usize..60,
        ) {
            prop_assume!(!contents.iter().any(|c| find(c, b"\r\n--XX").is_some() || c.starts_with(b"--XX")));
            let parts = parse(&body(&contents), cut).unwrap();
            prop_assert_eq!(parts.len(), contents.len());
            for (i, (part, content)) in parts.into_iter().enumerate() {
                prop_assert_eq!(part.name, Some(b"file".to_vec()));
                prop_assert_eq!(part.filename, Some(i.to_string().into_bytes()));
                prop_assert_eq!(&content, &contents[i]);
            }
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut parser = Parser::new("X");
            parser.feed(&noise);
            while let Ok(Some(_)) = parser.next_event() {}
        }
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        let read = |text: &str| {
            let mut part = Part::default();
            disposition(text.as_bytes(), &mut part);
            (part.name, part.filename)
        };
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            read(r#" form-data; name="file"; filename="/a \"b\"; c.txt""#),
            (some("file"), some("/a \"b\"; c.txt"))
        );
        assert_eq!(
            read(" form-data; filename=x%22; name=y"),
            (some("y"), some("x%22"))
        );
        assert_eq!(read(r#" form-data; filename="x%22""#), (None, some("x\"")));
        assert_eq!(boundary("multipart/form-data; boundary=\"ab\""), Ok("ab"));
        assert_eq!(
            boundary("multipart/form-data"),
            Err(MultipartError::NoBoundary)
        );
    }

    #[test]
    fn endless_headers_are_refused() {
        let mut parser = Parser::new("XX");
        parser.feed(b"--XX\r\n");
        parser.feed(&vec![b'a'; MAX_HEADERS + 10]);
        assert_eq!(parser.next_event(), Err(MultipartError::LongHeaders));
    }
}
