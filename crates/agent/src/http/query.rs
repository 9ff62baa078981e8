//! Query strings, percent-decoded to bytes: a path in one need not be UTF-8.

use wardian_wire::percent;

/// The value of the first parameter `name`, `None` if there is none.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<Vec<u8>> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name.as_bytes()).then(|| decode(value))
    })
}

/// The same as text; bytes that are no UTF-8 are shown as U+FFFD and so match no name.
pub(crate) fn text_parameter(query: Option<&str>, name: &str) -> Option<String> {
    parameter(query, name).map(|v| String::from_utf8_lossy(&v).into_owned())
}

/// All parameters, in their order.
pub(crate) fn pairs(query: Option<&str>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = query
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// As forms are encoded: a plus stands for a space.
fn decode(text: &str) -> Vec<u8> {
    percent::decoded(text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bytes() {
        let query = Some("path=%2Ftmp%2F%ffa+b%2&username=root&empty");
        assert_eq!(parameter(query, "path").unwrap(), b"/tmp/\xffa b%2");
        assert_eq!(text_parameter(query, "username").unwrap(), "root");
        assert_eq!(parameter(query, "empty").unwrap(), b"");
        assert_eq!(parameter(query, "absent"), None);
        assert_eq!(parameter(None, "path"), None);
    }
}
