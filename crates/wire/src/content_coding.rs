//! Which content coding a client wants (`Accept-Encoding`, RFC 9110 section 12.5.3).

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
}

/// No coding this side knows is acceptable to the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither identity nor gzip is acceptable to the client (Accept-Encoding)")]
pub struct NotAcceptable;

/// Chooses from an `Accept-Encoding` header; `identity_only` when the answer is a part of a file.
///
/// A list that names several compressions ("gzip, deflate, br") is what HTTP libraries send
/// unasked: it says what the client can read, not what it wants, and compressing costs more than
/// it saves on the way to a client on the same machine. Gzip is sent to who names it alone, or
/// rates it above identity, or refuses identity.
///
/// # Errors
/// [`NotAcceptable`] if the client refuses what is left.
pub fn choose(header: Option<&str>, identity_only: bool) -> Result<Coding, NotAcceptable> {
    let Some(header) = header else {
        return Ok(Coding::Identity);
    };
    let mut gzip = None;
    let mut identity = None;
    let mut any = None;
    let mut others = 0;
    for item in header.split(',') {
        let (name, weight) = weighted(item);
        match name.to_ascii_lowercase().as_str() {
            "" => {}
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => others += 1,
        }
    }
    let gzip_weight = gzip.or(any).unwrap_or(0);
    let identity_refused = identity.or(any.filter(|&w| w == 0)) == Some(0);
    if identity_only {
        return if identity_refused {
            Err(NotAcceptable)
        } else {
            Ok(Coding::Identity)
        };
    }
    if gzip_weight == 0 {
        return if identity_refused {
            Err(NotAcceptable)
        } else {
            Ok(Coding::Identity)
        };
    }
    let alone = gzip.is_some() && identity.is_none() && others == 0;
    let above = gzip.is_some() && identity.is_some_and(|w| gzip_weight > w);
    if identity_refused || alone || above {
        Ok(Coding::Gzip)
    } else {
        Ok(Coding::Identity)
    }
}

/// Splits `gzip;q=0.5` into name and weight in thousandths; an unreadable weight counts as 0.
fn weighted(item: &str) -> (&str, u32) {
    let mut parts = item.split(';');
    let name = parts.next().unwrap_or("").trim();
    let mut weight = 1000;
    for parameter in parts {
        if let Some((key, value)) = parameter.split_once('=') {
            if key.trim().eq_ignore_ascii_case("q") {
                weight = thousandths(value.trim()).unwrap_or(0);
            }
        }
    }
    (name, weight)
}

fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gzip_goes_to_who_wants_it() {
        let choose = |header| choose(Some(header), false);
        assert_eq!(choose("gzip"), Ok(Coding::Gzip));
        assert_eq!(choose("gzip;q=0.5"), Ok(Coding::Gzip));
        assert_eq!(choose("gzip;q=1.0, identity;q=0.5"), Ok(Coding::Gzip));
        assert_eq!(choose("br, gzip, identity;q=0"), Ok(Coding::Gzip));
        assert_eq!(choose("gzip, deflate"), Ok(Coding::Identity));
        assert_eq!(choose("gzip, deflate, br, zstd"), Ok(Coding::Identity));
        assert_eq!(choose("gzip;q=0"), Ok(Coding::Identity));
        assert_eq!(choose("*"), Ok(Coding::Identity));
        assert_eq!(choose("identity;q=0"), Err(NotAcceptable));
        assert_eq!(choose("gzip;q=0, *;q=0"), Err(NotAcceptable));
    }

    #[test]
    fn a_part_of_a_file_is_never_compressed() {
        assert_eq!(choose(Some("gzip"), true), Ok(Coding::Identity));
        assert_eq!(choose(Some("gzip, identity;q=0"), true), Err(NotAcceptable));
        assert_eq!(choose(None, true), Ok(Coding::Identity));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in ".{0,60}") {
            let _ = choose(Some(&noise), false);
        }
    }
}
