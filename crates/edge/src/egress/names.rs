//! The addresses that stand for names inside one sandbox.
//!
//! Each name gets an address of 198.18.0.0/15 (RFC 2544: never on the internet), chosen by its hash,
//! so that after a restart of the edge a client's old address means the same name or none.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wardian_wire::egress::hostname::Hostname;

const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const COUNT: u32 = 1 << 17;
/// The most names that one sandbox has addresses for.
const MAX_NAMES: usize = 4096;

/// Names and their addresses.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<Hostname, u32>,
    names: HashMap<u32, Entry>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    name: Hostname,
    used: u64,
}

/// Whether an address is one that stands for a name, or could.
pub(crate) fn is_synthetic(address: Ipv4Addr) -> bool {
    address.to_bits() & !(COUNT - 1) == FIRST
}

impl Names {
    /// The address of a name; the name that was used longest ago may lose its own.
    pub(crate) fn address(&self, name: &Hostname) -> Ipv4Addr {
        let mut table = self.table();
        if let Some(address) = table.addresses.get(name).copied() {
            table.touch(address);
            return Ipv4Addr::from_bits(address);
        }
        if table.names.len() >= MAX_NAMES {
            table.make_room();
        }
        let address = table.free_address(name);
        table.addresses.insert(name.clone(), address);
        let name = name.clone();
        table.names.insert(address, Entry { name, used: 0 });
        table.touch(address);
        Ipv4Addr::from_bits(address)
    }

    /// The name that an address stands for.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<Hostname> {
        let mut table = self.table();
        let name = table.names.get(&address.to_bits())?.name.clone();
        table.touch(address.to_bits());
        Some(name)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn touch(&mut self, address: u32) {
        self.clock += 1;
        if let Some(entry) = self.names.get_mut(&address) {
            entry.used = self.clock;
        }
    }

    fn make_room(&mut self) {
        let oldest = self.names.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            if let Some(entry) = self.names.remove(&address) {
                self.addresses.remove(&entry.name);
            }
        }
    }

    /// The first free address from the one that the name hashes to. The table is never full.
    fn free_address(&self, name: &Hostname) -> u32 {
        let digest = Sha256::digest(name.as_str());
        let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        // Neither the network's own address nor that for all of it.
        let usable = COUNT - 2;
        let start = hash % usable;
        let addresses = (0..usable).map(|step| FIRST + 1 + (start + step) % usable);
        let mut free = addresses.filter(|address| !self.names.contains_key(address));
        free.next().unwrap_or(FIRST + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_address_and_gets_it_again() {
        let (first, second) = (Names::default(), Names::default());
        second.address(&name("another.example"));
        let address = first.address(&name("api.example"));
        assert!(is_synthetic(address));
        assert_eq!(first.address(&name("API.example.")), address);
        assert_eq!(second.address(&name("api.example")), address);
        assert_eq!(first.name(address), Some(name("api.example")));
        assert_eq!(first.name(Ipv4Addr::new(198, 18, 0, 0)), None);
    }

    #[test]
    fn of_many_names_those_in_use_stay() {
        let names = Names::default();
        let kept = names.address(&name("kept.example"));
        let lost = names.address(&name("lost.example"));
        for number in 0..MAX_NAMES * 2 {
            names.address(&name(&format!("n{number}.example")));
            assert!(names.name(kept).is_some());
        }
        assert_eq!(names.name(kept), Some(name("kept.example")));
        assert_ne!(names.name(lost), Some(name("lost.example")));
        let table = names.table();
        assert_eq!(
            (table.names.len(), table.addresses.len()),
            (MAX_NAMES, MAX_NAMES)
        );
    }

    #[test]
    fn only_the_two_networks_are_synthetic() {
        for (address, synthetic) in [
            ([198, 17, 255, 255], false),
            ([198, 18, 0, 0], true),
            ([198, 19, 255, 255], true),
            ([198, 20, 0, 0], false),
        ] {
            assert_eq!(is_synthetic(address.into()), synthetic, "{address:?}");
        }
    }
}
