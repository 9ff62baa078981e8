//! Certificates that everything inside is to trust besides its own: put into the bundles and
//! stores that are there, and named by the variables of programs that bring bundles of their own.

mod rooted;

use rooted::Root;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use wardian_wire::{java_keystore, pem};

/// Where distributions have the system's bundle; the first that is there is what programs are
/// told of.
const BUNDLES: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];
/// What the next `update-ca-certificates` finds.
const LOCAL: &str = "usr/local/share/ca-certificates/wardian.crt";
const JAVA_STORE: &str = "etc/ssl/certs/java/cacerts";
const JAVA_STORE_AT_HOME: &str = "lib/security/cacerts";
/// Java's own password for the certificates it comes with: it keeps nothing secret.
const JAVA_PASSWORD: &str = "changeit";
/// Variables that name a whole bundle.
const BUNDLE_VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];
/// Variables that name what is trusted besides.
const ADDITION_VARIABLES: [&str; 1] = ["NODE_EXTRA_CA_CERTS"];

/// Trusts the certificates of `text`, PEM, below `root`. What can't be written is reported and left
/// as it is: a sandbox with an odd image is better than none. May be repeated.
///
/// # Arguments
/// `java_home` is where the sandbox's environment says that Java is.
///
/// # Returns
/// The variables that lead programs to it, for commands that don't set them.
///
/// # Errors
/// `text` holds no certificate.
pub(crate) fn install(
    root: &Path,
    text: &str,
    java_home: Option<&str>,
) -> Result<BTreeMap<String, String>, NoCertificate> {
    let wanted: Vec<Vec<u8>> = pem::certificates(text.as_bytes()).collect();
    if wanted.is_empty() {
        return Err(NoCertificate);
    }
    let root = match Root::open(root) {
        Ok(root) => root,
        Err(error) => {
            report("/", &error);
            return Ok(BTreeMap::new());
        }
    };
    let append = |before: &[u8]| Ok(grown(before, &wanted));
    let mut bundle = None;
    for path in BUNDLES {
        match root.change(path, append) {
            Ok(true) => bundle = bundle.or(Some(path)),
            Ok(false) => {}
            Err(error) => report(path, &error),
        }
    }
    let made = |path: &'static str| match root.change_or_make(path, append) {
        Ok(()) => Some(path),
        Err(error) => {
            report(path, &error);
            None
        }
    };
    let bundle = bundle.or_else(|| made(BUNDLES[0]));
    let addition = made(LOCAL).or(bundle);
    trust_in_java(&root, &wanted, java_home);
    Ok(variables(bundle, addition))
}

/// There is nothing to trust in what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate in it")]
pub(crate) struct NoCertificate;

fn grown(before: &[u8], wanted: &[Vec<u8>]) -> Option<Vec<u8>> {
    let more = pem::missing(before, wanted);
    (!more.is_empty()).then(|| [before, more.as_bytes()].concat())
}

fn variables(bundle: Option<&str>, addition: Option<&str>) -> BTreeMap<String, String> {
    let all = [
        (bundle, &BUNDLE_VARIABLES[..]),
        (addition, &ADDITION_VARIABLES[..]),
    ];
    let named = all.into_iter().flat_map(|(path, names)| {
        let pair = move |path: &str, name: &&str| ((*name).to_owned(), format!("/{path}"));
        path.into_iter()
            .flat_map(move |path| names.iter().map(move |name| pair(path, name)))
    });
    named.collect()
}

fn trust_in_java(root: &Root, wanted: &[Vec<u8>], java_home: Option<&str>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let time_ms = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let add = |before: &[u8]| match java_keystore::add(before, JAVA_PASSWORD, wanted, time_ms) {
        // Newer Java; its programs are told by `-Djavax.net.ssl.trustStore` of whoever needs it.
        Err(java_keystore::KeystoreError::OtherFormat) => Ok(None),
        result => result.map_err(std::io::Error::other),
    };
    let at_home = java_home
        .and_then(|home| home.strip_prefix('/'))
        .map(|home| format!("{home}/{JAVA_STORE_AT_HOME}"));
    for path in [Some(JAVA_STORE.to_owned()), at_home].into_iter().flatten() {
        if let Err(error) = root.change(&path, add) {
            report(&path, &error);
        }
    }
}

fn report(path: &str, error: &std::io::Error) {
    eprintln!("wardian-agent: trusting certificates in /{path}: {error}");
}

#[cfg(test)]
mod tests;
