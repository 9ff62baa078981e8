//! What is written is read again, however its bytes are cut; what is no archive is refused.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use wardian_wire::tar::block::padding;
use wardian_wire::tar::member::{Kind, Member};
use wardian_wire::tar::reader::{Event, Reader};
use wardian_wire::tar::{writer, TarError};

type Found = Vec<(Member, Vec<u8>)>;

fn read(bytes: &[u8], step: usize) -> Result<Found, TarError> {
    let mut reader = Reader::default();
    let mut found: Found = Vec::new();
    let mut open = false;
    for piece in bytes.chunks(step) {
        reader.feed(piece, |event| {
            match event {
                Event::Member(member) => {
                    assert!(!open);
                    open = true;
                    found.push((*member, Vec::new()));
                }
                Event::Data { offset, bytes } => {
                    let content = &mut found.last_mut().unwrap().1;
                    let offset = usize::try_from(offset).unwrap();
                    if offset + bytes.len() < 10_000_000 {
                        content.resize(content.len().max(offset + bytes.len()), 0);
                        content[offset..offset + bytes.len()].copy_from_slice(bytes);
                    }
                }
                Event::MemberEnd => open = false,
            }
            Ok::<(), TarError>(())
        })?;
    }
    reader.finish()?;
    Ok(found)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8..=255, 1..300)
        .prop_filter("a name ends in no slash", |n| n.last() != Some(&b'/'))
}

fn member() -> impl Strategy<Value = (Member, Vec<u8>)> {
    let kind = prop_oneof![
        Just(Kind::File),
        Just(Kind::Directory),
        Just(Kind::Fifo),
        name().prop_map(|target| Kind::Symlink { target }),
        name().prop_map(|target| Kind::HardLink { target }),
    ];
    let content = prop::collection::vec(any::<u8>(), 0..1500);
    let times = (-5_000_000_000i64..5_000_000_000, 0u32..1_000_000_000);
    let owner = (0u64..1 << 40, "[a-z]{0,60}");
    (name(), kind, content, times, owner, 0u32..0o10000).prop_map(
        |(path, kind, content, modified, (uid, owner), mode)| {
            let content = if kind == Kind::File {
                content
            } else {
                Vec::new()
            };
            let member = Member {
                path,
                kind,
                mode,
                uid,
                gid: uid / 3,
                owner: owner.clone(),
                group: owner,
                modified,
                size: content.len() as u64,
            };
            (member, content)
        },
    )
}

proptest! {
    #[test]
    fn archives_come_back(members in prop::collection::vec(member(), 0..8), step in 1usize..3000) {
        let mut bytes = Vec::new();
        for (member, content) in &members {
            bytes.extend(writer::header(member));
            bytes.extend(content);
            let padding = usize::try_from(padding(member.size)).unwrap();
            bytes.resize(bytes.len() + padding, 0);
        }
        prop_assert_eq!(bytes.len() % 512, 0);
        prop_assert!(matches!(read(&bytes, step), Err(TarError::Cut(_))));
        bytes.extend(writer::END);
        prop_assert_eq!(read(&bytes, step).unwrap(), members);
    }

    #[test]
    fn files_with_holes_come_back(
        (mut member, _) in member(),
        steps in prop::collection::vec((0u64..3000, 1u64..3000), 0..50),
        step in 1usize..3000,
    ) {
        member.kind = Kind::File;
        let mut pieces = Vec::new();
        let mut expected = Vec::new();
        for (number, (gap, length)) in steps.into_iter().enumerate() {
            let offset = expected.len() as u64 + gap;
            pieces.push((offset, length));
            expected.resize(usize::try_from(offset).unwrap(), 0);
            expected.resize(usize::try_from(offset + length).unwrap(), number as u8 + 1);
        }
        member.size = expected.len() as u64 + 77;
        let (mut bytes, data) = writer::sparse_header(&member, &pieces);
        for (offset, length) in &pieces {
            let start = usize::try_from(*offset).unwrap();
            bytes.extend(&expected[start..start + usize::try_from(*length).unwrap()]);
        }
        bytes.resize(bytes.len() + usize::try_from(padding(data)).unwrap(), 0);
        bytes.extend(writer::END);
        let found = read(&bytes, step).unwrap();
        prop_assert_eq!(&found[0].0, &member);
        prop_assert_eq!(&found[0].1, &expected);
    }

    #[test]
    fn damage_never_panics(
        members in prop::collection::vec(member(), 1..4),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        step in 1usize..2000,
    ) {
        let mut bytes: Vec<u8> = members.iter().flat_map(|(m, _)| writer::header(m)).collect();
        bytes.extend(writer::END);
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes, step);
    }
}
