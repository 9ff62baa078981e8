//! What git authenticates with.

use super::request::invalid;
use super::Result;
use wardian_wire::git::redact::Redaction;
use wardian_wire::git::url::{self, Address};

/// Where git finds them. The helper below is what reads them: arguments everybody can see, an
/// environment only the user itself.
const USERNAME: &str = "WARDIAN_GIT_USERNAME";
const PASSWORD: &str = "WARDIAN_GIT_PASSWORD";
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$WARDIAN_GIT_USERNAME\" \"$WARDIAN_GIT_PASSWORD\"; }; f";

/// For one server, and for no other that git may be led to.
#[derive(Clone)]
pub(super) struct Credentials {
    server: String,
    username: String,
    password: String,
}

impl Credentials {
    /// Those given, or those that stood in `address`; `None` where there are none, and git uses
    /// what the user has configured.
    ///
    /// # Errors
    /// 400 for what can't be told to a helper, or for an address that takes none.
    pub(super) fn new(
        address: &Address,
        username: Option<&str>,
        password: Option<&str>,
    ) -> Result<Option<Self>> {
        let given = username.is_some() || password.is_some();
        let username = username.or(address.username.as_deref()).unwrap_or("");
        let password = password.or(address.password.as_deref()).unwrap_or("");
        if username
            .chars()
            .chain(password.chars())
            .any(char::is_control)
        {
            return Err(invalid("username or password holds a control character"));
        }
        let Some((scheme, rest)) = address.clean.split_once("://") else {
            return if given {
                Err(invalid(
                    "username and password are for addresses of http and https",
                ))
            } else {
                Ok(None)
            };
        };
        if !scheme.to_ascii_lowercase().starts_with("http") {
            return if given {
                Err(invalid(
                    "username and password are for addresses of http and https",
                ))
            } else {
                Ok(None)
            };
        }
        if username.is_empty() && password.is_empty() {
            return Ok(None);
        }
        let host = rest.split('/').next().unwrap_or("");
        Ok(Some(Self {
            server: format!("{scheme}://{host}"),
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }

    /// Arguments in front of git's command. They hold no secret.
    pub(super) fn arguments(&self) -> [String; 4] {
        [
            "-c".to_owned(),
            // Clears the user's own helpers, which would keep what is meant for once.
            "credential.helper=".to_owned(),
            "-c".to_owned(),
            format!("credential.{}.helper={HELPER}", self.server),
        ]
    }

    pub(super) fn variables(&self) -> [(&'static str, &str); 2] {
        [(USERNAME, &self.username), (PASSWORD, &self.password)]
    }
}

/// What is hidden of an address and of credentials. A user name alone may be a token.
pub(super) fn redaction(address: Option<&Address>, credentials: Option<&Credentials>) -> Redaction {
    let mut secrets = Vec::new();
    if let Some(address) = address {
        secrets.extend(address.password.as_deref());
        secrets.extend(address.query_values.iter().map(String::as_str));
    }
    if let Some(credentials) = credentials {
        if credentials.password.is_empty() {
            secrets.push(&credentials.username);
        }
        secrets.push(&credentials.password);
    }
    Redaction::new(secrets)
}

/// Takes an address apart, or says what is wrong with it.
///
/// # Errors
/// 400; the message does not quote the address, which may hold a password.
pub(super) fn address(url: &str) -> Result<Address> {
    url::parse(url).map_err(|error| invalid(format!("the repository's address {error}")))
}
