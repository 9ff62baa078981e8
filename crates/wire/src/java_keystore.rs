//! Java's own format of key stores, JKS version 2, as far as trusting more certificates needs it:
//! `sun.security.provider.JavaKeyStore` of OpenJDK. Stores of the other format, PKCS #12, which
//! newer Java versions bring, are encrypted; they are not changed.

use sha1::{Digest, Sha1};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const KEY: u32 = 1;
const TRUSTED: u32 = 2;
const KIND: &[u8] = b"X.509";
const DIGEST: usize = 20;
/// Magic, version, count of entries.
const HEADER: usize = 12;
/// What Java puts between password and content before it takes the digest.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Why a store can't be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    #[error("is no Java key store of version 2")]
    OtherFormat,
    #[error("has another password, or was changed")]
    Digest,
    #[error("is cut short or has entries that can't be read")]
    Malformed,
}

/// `store` with those of `certificates` (DER) that it does not trust yet; `None` if it has all.
///
/// # Arguments
/// `password` guards the digest at its end; `time_ms`, since 1970, is when they were added.
///
/// # Errors
/// [`KeystoreError`]; the store is as good as it was.
pub fn add(
    store: &[u8],
    password: &str,
    certificates: &[Vec<u8>],
    time_ms: u64,
) -> Result<Option<Vec<u8>>, KeystoreError> {
    let start = (store.get(..4), store.get(4..8));
    if start != (Some(&MAGIC.to_be_bytes()), Some(&VERSION.to_be_bytes())) {
        return Err(KeystoreError::OtherFormat);
    }
    let end = store.len().checked_sub(DIGEST);
    let (content, digest) = end
        .and_then(|end| store.split_at_checked(end))
        .ok_or(KeystoreError::Malformed)?;
    if digest != digest_of(content, password) {
        return Err(KeystoreError::Digest);
    }
    let (count, trusted) = read(content).ok_or(KeystoreError::Malformed)?;
    let mut missing: Vec<&Vec<u8>> = Vec::new();
    for each in certificates {
        if !trusted.contains(&each.as_slice()) && !missing.contains(&each) {
            missing.push(each);
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let more = u32::try_from(missing.len()).ok();
    let count = more.and_then(|more| count.checked_add(more));
    let mut grown = content.to_vec();
    let field = grown.get_mut(8..HEADER).ok_or(KeystoreError::Malformed)?;
    field.copy_from_slice(&count.ok_or(KeystoreError::Malformed)?.to_be_bytes());
    for certificate in missing {
        append(&mut grown, certificate, time_ms).ok_or(KeystoreError::Malformed)?;
    }
    let digest = digest_of(&grown, password);
    grown.extend(digest);
    Ok(Some(grown))
}

fn append(store: &mut Vec<u8>, certificate: &[u8], time_ms: u64) -> Option<()> {
    let length = u32::try_from(certificate.len()).ok()?;
    // Of its content, so that no two share one.
    let name: String = Sha1::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let alias = format!("wardian-{name}");
    store.extend(TRUSTED.to_be_bytes());
    store.extend(u16::try_from(alias.len()).ok()?.to_be_bytes());
    store.extend(alias.as_bytes());
    store.extend(time_ms.to_be_bytes());
    store.extend(u16::try_from(KIND.len()).ok()?.to_be_bytes());
    store.extend(KIND);
    store.extend(length.to_be_bytes());
    store.extend(certificate);
    Some(())
}

fn digest_of(content: &[u8], password: &str) -> [u8; DIGEST] {
    let mut hash = Sha1::new();
    for unit in password.encode_utf16() {
        hash.update(unit.to_be_bytes());
    }
    hash.update(WHITENER);
    hash.update(content);
    hash.finalize().into()
}

/// The count of entries, and the certificates that are trusted; `None` if anything is odd.
fn read(content: &[u8]) -> Option<(u32, Vec<&[u8]>)> {
    let mut rest = content.get(8..)?;
    let count = number(&mut rest)?;
    let mut trusted = Vec::new();
    for _ in 0..count {
        let tag = number(&mut rest)?;
        name(&mut rest)?;
        take(&mut rest, 8)?;
        match tag {
            TRUSTED => trusted.push(certificate(&mut rest)?),
            KEY => {
                let length = number(&mut rest)?;
                take(&mut rest, usize::try_from(length).ok()?)?;
                for _ in 0..number(&mut rest)? {
                    certificate(&mut rest)?;
                }
            }
            _ => return None,
        }
    }
    rest.is_empty().then_some((count, trusted))
}

fn certificate<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    name(rest)?;
    let length = number(rest)?;
    take(rest, usize::try_from(length).ok()?)
}

fn name<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 2)?;
    take(
        rest,
        usize::from(u16::from_be_bytes(length.try_into().ok()?)),
    )
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWORD: &str = "changeit";

    fn sealed(content: &[u8]) -> Vec<u8> {
        [content, &digest_of(content, PASSWORD)].concat()
    }

    fn empty() -> Vec<u8> {
        sealed(&[MAGIC, VERSION, 0].map(u32::to_be_bytes).concat())
    }

    #[test]
    fn what_is_there_is_not_added_twice() {
        let first = add(&empty(), PASSWORD, &[vec![1], vec![1], vec![2]], 5);
        let first = first.unwrap().unwrap();
        assert_eq!(read(&first[..first.len() - DIGEST]).unwrap().0, 2);
        assert_eq!(add(&first, PASSWORD, &[vec![2], vec![1]], 6), Ok(None));
    }

    #[test]
    fn other_stores_are_left() {
        let add = |store: &[u8], password| add(store, password, &[vec![1]], 0).unwrap_err();
        assert_eq!(
            add(b"\x30\x82\x01\x02", PASSWORD),
            KeystoreError::OtherFormat
        );
        assert_eq!(add(&empty(), "secret"), KeystoreError::Digest);
        assert_eq!(add(&empty()[..12], PASSWORD), KeystoreError::Malformed);
        // An entry is promised that does not come; and one of a kind that there is not.
        let cut = [MAGIC, VERSION, 1].map(u32::to_be_bytes).concat();
        assert_eq!(add(&sealed(&cut), PASSWORD), KeystoreError::Malformed);
        let odd = [MAGIC, VERSION, 1, 3, 0, 0, 0]
            .map(u32::to_be_bytes)
            .concat();
        assert_eq!(add(&sealed(&odd), PASSWORD), KeystoreError::Malformed);
    }

    proptest! {
        #[test]
        fn all_that_was_there_stays(
            before in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            more in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        ) {
            let store = add(&empty(), PASSWORD, &before, 1).unwrap().unwrap_or_else(empty);
            let grown = add(&store, PASSWORD, &more, 2).unwrap().unwrap_or(store);
            let (_, trusted) = read(&grown[..grown.len() - DIGEST]).unwrap();
            for each in before.iter().chain(&more) {
                prop_assert_eq!(trusted.iter().filter(|found| *found == each).count(), 1);
            }
        }

        #[test]
        fn any_content_is_read_or_refused(
            count in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut content = [MAGIC, VERSION, count].map(u32::to_be_bytes).concat();
            content.extend(bytes);
            let _ = add(&sealed(&content), PASSWORD, &[vec![1]], 0);
        }
    }
}
