//! The certificates that opened connections show, each made once.

use super::authority::{Authority, AuthorityError};
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wardian_wire::egress::destination::Host;

/// The most names that have a certificate ready.
const MAX_LEAVES: usize = 1024;
/// A leaf is made anew long before it runs out.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// How TLS is ended for each name, as one authority signs it.
#[derive(Debug)]
pub(crate) struct Leaves {
    authority: Authority,
    /// One for all names: what makes a ticket good for its name alone is inside it.
    tickets: Arc<dyn ProducesTickets>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<Host, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    config: Arc<OnceLock<Option<Arc<ServerConfig>>>>,
    made: Instant,
    used: u64,
}

impl Leaves {
    /// Reads the authority.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        Ok(Self {
            authority: Authority::new(certificate, key)?,
            tickets: Ticketer::new()?,
            known: Mutex::default(),
        })
    }

    /// How TLS is ended for `subject`; `None` where no certificate can be made for it.
    pub(crate) fn config(&self, subject: &Host) -> Option<Arc<ServerConfig>> {
        let place = self.place(subject);
        // Who comes while it is made waits: signing takes less time than waking a task.
        let made = place.get_or_init(|| match self.make(subject) {
            Ok(config) => Some(config),
            Err(error) => {
                tracing::warn!(?subject, %error, "no certificate for an opened connection");
                None
            }
        });
        made.clone()
    }

    fn place(&self, subject: &Host) -> Arc<OnceLock<Option<Arc<ServerConfig>>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.uses += 1;
        let used = known.uses;
        if let Some(entry) = known.entries.get_mut(subject) {
            if entry.made.elapsed() < FRESH {
                entry.used = used;
                return Arc::clone(&entry.config);
            }
        } else if known.entries.len() >= MAX_LEAVES {
            known.forget_oldest();
        }
        let config = Arc::new(OnceLock::new());
        let entry = Entry {
            config: Arc::clone(&config),
            made: Instant::now(),
            used,
        };
        known.entries.insert(subject.clone(), entry);
        config
    }

    fn make(&self, subject: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        server_config(self.authority.issue(subject)?, Arc::clone(&self.tickets))
    }
}

impl Known {
    fn forget_oldest(&mut self) {
        let oldest = self
            .entries
            .iter()
            .min_by_key(|(_, entry)| entry.used)
            .map(|(subject, _)| subject.clone());
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }
}

fn server_config(
    certified: CertifiedKey,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, AuthorityError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::super::authority::tests::pem;
    use super::*;

    fn leaves() -> Leaves {
        let (certificate, key) = pem();
        Leaves::new(&certificate, &key).unwrap()
    }

    fn name(number: usize) -> Host {
        Host::parse(&format!("{number}.example")).unwrap()
    }

    #[test]
    fn a_name_is_signed_once_whoever_asks_at_once() {
        let leaves = leaves();
        let all: Vec<_> = std::thread::scope(|scope| {
            let ask = || leaves.config(&name(1)).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(all.iter().all(|config| Arc::ptr_eq(config, &all[0])));
    }

    #[test]
    fn the_name_used_longest_ago_makes_room() {
        let leaves = leaves();
        for number in 0..MAX_LEAVES {
            leaves.place(&name(number));
        }
        let first = leaves.place(&name(0));
        leaves.place(&name(MAX_LEAVES));
        assert!(Arc::ptr_eq(&first, &leaves.place(&name(0))));
        let known = leaves.known.lock().unwrap();
        assert_eq!(known.entries.len(), MAX_LEAVES);
        assert!(!known.entries.contains_key(&name(1)));
    }
}
