//! Credentials that a sandbox never holds: put into its requests on their way out, and masked
//! where answers repeat them.

mod basic;
mod body;
mod error;
mod inject;
mod kept;
mod placeholders;
mod query;
mod redact;
mod sigv4;
#[cfg(test)]
mod tests;

pub(crate) use body::{BoxError, Outgoing};
pub(crate) use error::CredentialError;
pub(crate) use kept::Kept;
pub(crate) use redact::Redaction;

use http::request::Parts;
use http::Request;
use hyper::body::Body;
use inject::Ready;
use placeholders::Placeholders;
use sigv4::Given;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Semaphore;
use wardian_wire::egress::matching::CompiledPolicy;
use wardian_wire::egress::policy::{Action, Allow, NamedSecret, Placeholder};

/// What one policy puts into requests, made ready once.
pub(crate) struct Credentials {
    placeholders: Placeholders,
    /// One for each rule of the policy.
    rules: Vec<Result<Rule, CredentialError>>,
    /// How many bytes of bodies may still be held to be hashed.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Rule {
    injections: Vec<Ready>,
    /// Names of the secrets injected.
    secrets: Vec<String>,
    /// Placeholders that are swapped.
    wanted: Vec<usize>,
    redaction: Option<Redaction>,
}

/// A request with its credentials.
#[derive(Debug)]
pub(crate) struct Applied<B> {
    pub(crate) request: Request<Outgoing<B>>,
    /// Names of the secrets that are in it.
    pub(crate) secrets: Vec<String>,
    /// Names of the secrets whose placeholders go along as they are.
    pub(crate) strayed: Vec<String>,
    /// What masks the answer, if the rule wants that.
    pub(crate) redaction: Option<Redaction>,
}

impl Credentials {
    /// Makes a policy's credentials ready. A rule whose credentials do not fit fails each of its
    /// requests.
    pub(crate) fn new(policy: &CompiledPolicy) -> Result<Self, CredentialError> {
        let placeholders = policy.placeholders();
        let rules = policy.rules().iter().map(|rule| match &rule.source.action {
            Action::Deny {} => Ok(Rule::default()),
            Action::Allow(allow) => Rule::new(allow, placeholders),
        });
        Ok(Self {
            placeholders: Placeholders::new(placeholders)?,
            rules: rules.collect(),
            room: Arc::new(Semaphore::new(body::MAX_HELD_AT_ONCE)),
        })
    }

    /// The names of the secrets whose placeholders a request holds that no rule lets out.
    pub(crate) fn stray(&self, head: &Parts) -> Vec<String> {
        self.placeholders.stray(head)
    }

    /// Puts into a request what the rule at `index` says. The head must be as it will go on, with
    /// everything gone that is about one connection only; `now` is the time for signatures that
    /// the sandbox has not made.
    ///
    /// # Errors
    /// A credential cannot be put in; the request must not go on.
    pub(crate) async fn apply<B>(
        &self,
        index: usize,
        request: Request<B>,
        now: SystemTime,
    ) -> Result<Applied<B>, CredentialError>
    where
        B: Body<Data = bytes::Bytes> + Unpin,
    {
        let nothing = Rule::default();
        let rule = match self.rules.get(index) {
            Some(rule) => rule.as_ref().map_err(Clone::clone)?,
            None => &nothing,
        };
        let (mut head, body) = request.into_parts();
        for injection in &rule.injections {
            injection.put_in(&mut head)?;
        }
        // What the sandbox signed with does not go along, so it is out before placeholders are
        // looked for.
        let signer = rule
            .injections
            .iter()
            .find_map(|injection| match injection {
                Ready::Signature(signer) => Some(signer),
                _ => None,
            });
        let given = signer
            .map(|_| Given::take(&mut head))
            .transpose()?
            .flatten();
        let met = self.placeholders.swap(&rule.wanted, &mut head)?;
        if let Some(redaction) = &rule.redaction {
            redaction.ask(&mut head);
        }
        let outgoing = match signer {
            None => Outgoing::AsItCame(body),
            Some(signer) => {
                let draft = signer.draft(given.as_ref(), &mut head, body.is_end_stream(), now)?;
                self.sign(draft, &mut head, body).await?
            }
        };
        let mut secrets = rule.secrets.clone();
        secrets.extend(
            self.names(&met.swapped)
                .filter(|name| !rule.secrets.contains(name)),
        );
        Ok(Applied {
            request: Request::from_parts(head, outgoing),
            secrets,
            strayed: self.names(&met.strayed).collect(),
            redaction: rule.redaction.clone(),
        })
    }

    async fn sign<B>(
        &self,
        draft: sigv4::Draft,
        head: &mut Parts,
        body: B,
    ) -> Result<Outgoing<B>, CredentialError>
    where
        B: Body<Data = bytes::Bytes> + Unpin,
    {
        if draft.payload == sigv4::Payload::Body {
            let (held, hash) = body::hold(body, &self.room).await?;
            draft.sign(head, Some(hash))?;
            return Ok(Outgoing::Held(held));
        }
        Ok(match draft.sign(head, None)? {
            None => Outgoing::AsItCame(body),
            Some(resigner) => Outgoing::Chunks {
                body,
                resigner: Box::new(resigner),
                ended: false,
            },
        })
    }

    fn names<'a>(&'a self, indices: &'a [usize]) -> impl Iterator<Item = String> + 'a {
        indices
            .iter()
            .map(|index| self.placeholders.name(*index).to_owned())
    }
}

impl Rule {
    fn new(allow: &Allow, placeholders: &[Placeholder]) -> Result<Self, CredentialError> {
        let injections: Result<Vec<_>, _> = allow.inject.iter().map(Ready::new).collect();
        let mut secrets: Vec<String> = Vec::new();
        for secret in allow.inject.iter().flat_map(|each| each.secrets()) {
            if !secrets.contains(&secret.name) {
                secrets.push(secret.name.clone());
            }
        }
        let all = placeholders.iter().enumerate();
        let wanted = all.filter(|(_, each)| allow.substitute.contains(&each.name));
        Ok(Self {
            injections: injections?,
            secrets,
            wanted: wanted.map(|(index, _)| index).collect(),
            redaction: Redaction::new(allow, placeholders)?,
        })
    }
}

/// For messages.
fn names(secrets: &[NamedSecret]) -> String {
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    if names.is_empty() {
        return "the rule's value".to_owned();
    }
    names.join(", ")
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}
