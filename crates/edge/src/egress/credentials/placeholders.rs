//! Placeholders in requests: found in one pass, swapped where a rule says so.

use super::inject::{frames, sensitive};
use super::{basic, query, CredentialError};
use aho_corasick::{AhoCorasick, MatchKind};
use http::header::{self, HeaderValue};
use http::request::Parts;
use std::ops::Range;
use wardian_wire::egress::policy::Placeholder;
use wardian_wire::percent;
use zeroize::Zeroizing;

/// By how many bytes values may make a request longer: a sandbox may write a placeholder many
/// times, and a value has up to 64 KiB.
const MAX_GROWTH: usize = 256 * 1024;

/// The placeholders of one policy.
pub(super) struct Placeholders {
    /// `None`: there are none.
    search: Option<AhoCorasick>,
    all: Vec<Known>,
}

struct Known {
    name: String,
    value: Zeroizing<String>,
}

/// What one pass over a request has met, as positions in the policy's list.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) swapped: Vec<usize>,
    pub(super) strayed: Vec<usize>,
    grown: usize,
}

impl Placeholders {
    /// Prepares the search for all of them.
    ///
    /// # Errors
    /// They are too many to search for.
    pub(super) fn new(all: &[Placeholder]) -> Result<Self, CredentialError> {
        let search = (!all.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(all.iter().map(|each| &each.text))
        });
        let known = |each: &Placeholder| Known {
            name: each.name.clone(),
            value: Zeroizing::new(each.value.clone()),
        };
        Ok(Self {
            search: search.transpose().map_err(|_| CredentialError::TooLarge)?,
            all: all.iter().map(known).collect(),
        })
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.all.get(index).map_or("", |known| &known.name)
    }

    /// Swaps the `wanted` placeholders in header values, also inside `Basic` credentials, and in
    /// the query; tells of those that stay.
    ///
    /// # Errors
    /// A value does not fit, or the request grows too large.
    pub(super) fn swap(&self, wanted: &[usize], head: &mut Parts) -> Result<Met, CredentialError> {
        let mut met = Met::default();
        let Some(search) = &self.search else {
            return Ok(met);
        };
        let mut pass = Pass {
            search,
            known: &self.all,
            wanted,
            met: &mut met,
        };
        for (name, value) in &mut head.headers {
            // A placeholder in Host may be a name that the sandbox dialled.
            let wanted = if frames(name) { &[] } else { wanted };
            pass.wanted = wanted;
            if let Some(bytes) = pass.header(name == header::AUTHORIZATION, value)? {
                *value = sensitive(&bytes).ok_or_else(|| pass.unfit(name.as_str()))?;
            }
        }
        pass.wanted = wanted;
        let edited = match head.uri.query() {
            Some(query) => pass.encoded(query.as_bytes())?,
            None => None,
        };
        pass.wanted = &[];
        pass.encoded(head.uri.path().as_bytes())?;
        if let Some(query) = edited {
            query::set(&mut head.uri, Some(&query))?;
        }
        Ok(met)
    }

    /// The names of all placeholders in a request that no rule has looked at.
    pub(super) fn stray(&self, head: &Parts) -> Vec<String> {
        let mut met = Met::default();
        let Some(search) = &self.search else {
            return Vec::new();
        };
        let mut pass = Pass {
            search,
            known: &self.all,
            wanted: &[],
            met: &mut met,
        };
        let query = head.uri.query().unwrap_or_default();
        // With nothing wanted, nothing can fail to fit.
        for (name, value) in &head.headers {
            let _ = pass.header(name == header::AUTHORIZATION, value);
        }
        let _ = pass.encoded(query.as_bytes());
        let _ = pass.encoded(head.uri.path().as_bytes());
        met.strayed
            .iter()
            .map(|index| self.name(*index).to_owned())
            .collect()
    }
}

struct Pass<'a> {
    search: &'a AhoCorasick,
    known: &'a [Known],
    wanted: &'a [usize],
    met: &'a mut Met,
}

impl Pass<'_> {
    fn header(
        &mut self,
        authorization: bool,
        value: &HeaderValue,
    ) -> Result<Option<Vec<u8>>, CredentialError> {
        let inside = authorization.then(|| basic::decoded(value.as_bytes()));
        let Some(credentials) = inside.flatten() else {
            return self.plain(value.as_bytes(), <[u8]>::to_vec);
        };
        let edited = self.plain(&credentials, <[u8]>::to_vec)?;
        Ok(edited.map(|bytes| basic::encoded(&bytes).into_bytes()))
    }

    /// A query or path, in which each byte may be written as `%XX`.
    fn encoded(&mut self, text: &[u8]) -> Result<Option<Vec<u8>>, CredentialError> {
        let encode = |value: &[u8]| percent::encoded(value).into_bytes();
        if !text.contains(&b'%') {
            return self.plain(text, encode);
        }
        let decoded = percent::decoded(text);
        let starts = starts_of_decoded(text);
        let place = |index: usize| starts.get(index).copied().unwrap_or(text.len());
        self.replace(text, &decoded, place, encode)
    }

    fn plain(
        &mut self,
        text: &[u8],
        encode: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, CredentialError> {
        self.replace(text, text, |index| index, encode)
    }

    /// `place` says where in `written` a byte of `searched` begins.
    fn replace(
        &mut self,
        written: &[u8],
        searched: &[u8],
        place: impl Fn(usize) -> usize,
        encode: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, CredentialError> {
        let mut edited = Vec::new();
        let mut done = 0;
        for found in self.search.find_iter(searched) {
            let index = found.pattern().as_usize();
            let known = self
                .known
                .get(index)
                .filter(|_| self.wanted.contains(&index));
            let Some(known) = known else {
                note(&mut self.met.strayed, index);
                continue;
            };
            note(&mut self.met.swapped, index);
            let value = encode(known.value.as_bytes());
            self.met.grown = self.met.grown.saturating_add(value.len());
            if self.met.grown > MAX_GROWTH {
                return Err(CredentialError::TooLarge);
            }
            let Range { start, end } = place(found.start())..place(found.end());
            edited.extend_from_slice(written.get(done..start).unwrap_or_default());
            edited.extend_from_slice(&value);
            done = end;
        }
        if done == 0 {
            return Ok(None);
        }
        edited.extend_from_slice(written.get(done..).unwrap_or_default());
        Ok(Some(edited))
    }

    fn unfit(&self, header: &str) -> CredentialError {
        let names = self.met.swapped.iter().filter_map(|at| self.known.get(*at));
        let names: Vec<&str> = names.map(|known| known.name.as_str()).collect();
        CredentialError::Value {
            secrets: names.join(", "),
            place: format!("header {header}"),
        }
    }
}

fn note(met: &mut Vec<usize>, index: usize) {
    if !met.contains(&index) {
        met.push(index);
    }
}

/// Where in the text each byte of its decoded form begins.
fn starts_of_decoded(text: &[u8]) -> Vec<usize> {
    let mut starts = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        starts.push(at);
        let triple = text.get(at..at + 3).is_some_and(|triple| {
            triple.first() == Some(&b'%') && triple.iter().skip(1).all(u8::is_ascii_hexdigit)
        });
        at += if triple { 3 } else { 1 };
    }
    starts
}
