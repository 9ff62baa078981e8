//! What clients of a terminal say beside keys, and what they are told beside output: text frames
//! of JSON.

use serde::Serialize;
use serde_json::Value;

/// The most columns or rows a terminal gets; more are cut.
pub const MAX_SIZE: u16 = 4096;

/// How large a terminal is, in characters: 1 to [`MAX_SIZE`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Resize(Size),
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Notice {
    /// What the screen showed before has been sent.
    Ready,
    /// The program has ended.
    Exit {
        /// 128 and the number of the signal, where one ended it.
        code: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    Error {
        message: String,
    },
}

/// What can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misunderstood {
    #[error("a text frame is no JSON object with a 'type'; keys are sent as binary frames")]
    NoObject,
    #[error("resize: '{0}' must be a whole number of at least 1")]
    Size(&'static str),
}

/// A number of columns or rows: whole, at least 1; what is more than [`MAX_SIZE`] is cut.
#[must_use]
pub fn cells(number: u64) -> Option<u16> {
    (number > 0).then(|| u16::try_from(number).map_or(MAX_SIZE, |n| n.min(MAX_SIZE)))
}

/// Reads a text frame. `None`: a type that is not known, to be ignored.
///
/// # Errors
/// [`Misunderstood`].
pub fn request(text: &str) -> Result<Option<Request>, Misunderstood> {
    let value: Value = serde_json::from_str(text).map_err(|_| Misunderstood::NoObject)?;
    let kind = value.get("type").and_then(Value::as_str);
    match kind.ok_or(Misunderstood::NoObject)? {
        "resize" => {
            let side = |name: &'static str| {
                let number = value.get(name).and_then(Value::as_u64);
                number.and_then(cells).ok_or(Misunderstood::Size(name))
            };
            Ok(Some(Request::Resize(Size {
                cols: side("cols")?,
                rows: side("rows")?,
            })))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_as_clients_write_them() {
        let size = |cols, rows| Ok(Some(Request::Resize(Size { cols, rows })));
        for (text, expected) in [
            (r#"{"type":"resize","cols":120,"rows":40}"#, size(120, 40)),
            (
                r#"{"type":"resize","cols":99999999999,"rows":1,"x":2}"#,
                size(4096, 1),
            ),
            (
                r#"{"type":"resize","cols":0,"rows":40}"#,
                Err(Misunderstood::Size("cols")),
            ),
            (
                r#"{"type":"resize","cols":80,"rows":-1}"#,
                Err(Misunderstood::Size("rows")),
            ),
            (
                r#"{"type":"resize","cols":80.5,"rows":1}"#,
                Err(Misunderstood::Size("cols")),
            ),
            (r#"{"type":"resize"}"#, Err(Misunderstood::Size("cols"))),
            (r#"{"type":"focus"}"#, Ok(None)),
            (r#"{"kind":1}"#, Err(Misunderstood::NoObject)),
            ("[]", Err(Misunderstood::NoObject)),
            ("ls\n", Err(Misunderstood::NoObject)),
        ] {
            assert_eq!(request(text), expected, "{text}");
        }
    }

    #[test]
    fn notices_as_clients_read_them() {
        let json = |notice: &Notice| serde_json::to_string(notice).unwrap();
        assert_eq!(json(&Notice::Ready), r#"{"type":"ready"}"#);
        let exit = |code, signal| Notice::Exit { code, signal };
        assert_eq!(json(&exit(3, None)), r#"{"type":"exit","code":3}"#);
        assert_eq!(
            json(&exit(129, Some("SIGHUP".to_owned()))),
            r#"{"type":"exit","code":129,"signal":"SIGHUP"}"#
        );
    }

    proptest! {
        #[test]
        fn sizes_are_always_possible(text in "\\{\"type\":\"resize\",\"cols\":[0-9]{1,25},\"rows\":[0-9]{1,4}\\}") {
            if let Ok(Some(Request::Resize(size))) = request(&text) {
                prop_assert!((1..=MAX_SIZE).contains(&size.cols) && (1..=MAX_SIZE).contains(&size.rows));
            }
        }
    }
}
