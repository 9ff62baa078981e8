//! Images of all kinds, also such as were made to mislead.

use super::*;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::PathBuf;
use std::process::Command;

struct Image(PathBuf);

impl Image {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wardian-trust-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn certificates(&self, path: &str) -> Vec<Vec<u8>> {
        pem::certificates(&fs::read(self.0.join(path)).unwrap()).collect()
    }

    fn trust(&self, certificates: &[&[u8]]) -> BTreeMap<String, String> {
        let text: String = certificates.iter().map(|each| pem::encode(each)).collect();
        install(&self.0, &text, Some("/opt/java")).unwrap()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bundles_that_are_there_get_what_they_lack() {
    let image = Image::new("bundles");
    let (debian, old) = (BUNDLES[0], pem::encode(b"old"));
    fs::write(image.at(debian), &old).unwrap();
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(image.at(debian), mode).unwrap();
    symlink("certs/ca-certificates.crt", image.at("etc/ssl/cert.pem")).unwrap();
    let variables = image.trust(&[b"new"]);
    let both = [b"old".to_vec(), b"new".to_vec()];
    assert_eq!(image.certificates(debian), both);
    assert_eq!(image.certificates("etc/ssl/cert.pem"), both);
    assert!(image.at("etc/ssl/cert.pem").is_symlink());
    let status = fs::metadata(image.at(debian)).unwrap();
    assert_eq!(status.mode() & 0o777, 0o640);
    assert_eq!(image.certificates(LOCAL), [b"new".to_vec()]);
    assert!(!image.0.join("etc/pki").exists());
    assert_eq!(
        variables["SSL_CERT_FILE"],
        "/etc/ssl/certs/ca-certificates.crt"
    );
    assert_eq!(variables["NODE_EXTRA_CA_CERTS"], format!("/{LOCAL}"));
    assert_eq!(variables.len(), 10);
    // Again, and with one more.
    image.trust(&[b"new"]);
    assert_eq!(fs::metadata(image.at(debian)).unwrap().ino(), status.ino());
    image.trust(&[b"new", b"newer"]);
    assert_eq!(image.certificates(debian).len(), 3);
    let names = fs::read_dir(image.at("etc/ssl/certs/x").parent().unwrap()).unwrap();
    assert_eq!(names.count(), 1);
}

#[test]
fn where_there_is_no_bundle_one_is_made() {
    let image = Image::new("none");
    let variables = image.trust(&[b"new"]);
    assert_eq!(image.certificates(BUNDLES[0]), [b"new".to_vec()]);
    assert_eq!(variables["PIP_CERT"], "/etc/ssl/certs/ca-certificates.crt");
    assert_eq!(install(&image.0, "nothing", None), Err(NoCertificate));
}

#[test]
fn other_distributions_bundles_are_found() {
    let image = Image::new("fedora");
    let real = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    fs::write(image.at(real), pem::encode(b"old")).unwrap();
    symlink(format!("/{real}"), image.at(BUNDLES[1])).unwrap();
    let variables = image.trust(&[b"new"]);
    assert_eq!(image.certificates(real).len(), 2);
    assert!(image.at(BUNDLES[1]).is_symlink());
    assert_eq!(
        variables["CURL_CA_BUNDLE"],
        "/etc/pki/tls/certs/ca-bundle.crt"
    );
}

#[test]
fn links_lead_nowhere_else_and_odd_files_are_left() {
    let (image, outside) = (Image::new("hostile"), Image::new("outside"));
    let target = outside.at("bundle.crt");
    fs::write(&target, pem::encode(b"old")).unwrap();
    fs::create_dir_all(image.at("etc/ssl/certs/x").parent().unwrap()).unwrap();
    symlink(&target, image.at(BUNDLES[0])).unwrap();
    symlink("/proc/self/root/etc/passwd", image.at("etc/ssl/cert.pem")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        image.at(BUNDLES[1]),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    fs::create_dir_all(image.at(JAVA_STORE)).unwrap();
    symlink(&outside.0, image.at("opt/java")).unwrap();
    let huge = fs::File::create(image.at(BUNDLES[2])).unwrap();
    huge.set_len(1 << 30).unwrap();
    symlink(&outside.0, image.at("usr/local/share/ca-certificates")).unwrap();
    image.trust(&[b"new"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), pem::encode(b"old"));
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1);
    assert_eq!(huge.metadata().unwrap().len(), 1 << 30);
    assert!(image.at(JAVA_STORE).is_dir());
}

/// With a store that the real tool made, and asks afterwards.
#[test]
fn java_trusts_it_too() {
    let image = Image::new("java");
    let keytool = |arguments: &[&str]| {
        let output = Command::new("keytool").args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        Some((output.stdout, text))
    };
    let store = image.at("opt/java/lib/security/cacerts");
    let path = store.to_str().unwrap();
    let key = [
        "-genkeypair",
        "-alias",
        "own",
        "-keyalg",
        "EC",
        "-dname",
        "CN=old",
    ];
    let kind = [
        "-storetype",
        "JKS",
        "-keystore",
        path,
        "-storepass",
        "changeit",
    ];
    let made = keytool(&[&key[..], &kind, &["-keypass", "changeit"]].concat());
    if made.is_none() {
        eprintln!("keytool is not installed: not tried");
        return;
    }
    // A real certificate, of another store.
    let other = image.at("other");
    let other = other.to_str().unwrap();
    let password = ["-keystore", other, "-storepass", "changeit"];
    keytool(
        &[
            &["-genkeypair", "-keyalg", "EC", "-dname", "CN=new"],
            &password[..],
        ]
        .concat(),
    );
    let export = [&["-exportcert", "-alias", "mykey"], &password[..]].concat();
    let (certificate, _) = keytool(&export).unwrap();
    image.trust(&[&certificate]);
    let before = fs::read(&store).unwrap();
    let (_, listed) = keytool(&[&["-list", "-v"], &kind[..]].concat()).unwrap();
    assert!(listed.contains("Owner: CN=new"), "{listed}");
    assert!(listed.contains("contains 2 entries"), "{listed}");
    image.trust(&[&certificate]);
    assert_eq!(fs::read(&store).unwrap(), before);
    // The other format stays as it is.
    let pkcs12 = fs::read(other).unwrap();
    fs::copy(other, image.at(JAVA_STORE)).unwrap();
    image.trust(&[&certificate]);
    assert_eq!(fs::read(image.at(JAVA_STORE)).unwrap(), pkcs12);
}
