//! A hostile /etc/passwd or /etc/group never yields an id that means "leave as it is".
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardian_wire::accounts::{by_name, groups_of, name_of_gid, name_of_uid};

fuzz_target!(|input: (&str, u32, &[u8])| {
    let (name, id, file) = input;
    if let Some(account) = by_name(file, name) {
        assert_eq!(account.name, name);
        assert!(account.uid != u32::MAX && account.gid != u32::MAX);
        assert!(!account.home.contains(&0) && !account.home.contains(&b'\n'));
    }
    assert!(name_of_uid(file, u32::MAX).is_none());
    assert!(name_of_gid(file, u32::MAX).is_none());
    let groups = groups_of(file, name, id, 32);
    assert!(groups.first() == Some(&id) && groups.len() <= 32);
    assert!(!groups[1..].contains(&u32::MAX));
});
