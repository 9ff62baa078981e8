//! Masking in a stream: every byte of every match becomes `*`, also where matches overlap or are
//! cut by the borders of pieces.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The search for all forms of a rule's secrets.
pub(super) struct Masker {
    automaton: NFA,
    start: StateID,
    /// Bytes that do not begin a match.
    idle: Box<[bool; 256]>,
    /// How many bytes lie between the start and a state, which is how many of the last bytes may
    /// be the beginning of a match.
    depths: HashMap<StateID, usize>,
}

impl Masker {
    /// `None` if there is too much to search for.
    pub(super) fn new(forms: &[impl AsRef<[u8]>]) -> Option<Self> {
        let forms = || forms.iter().map(AsRef::as_ref);
        let built = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(forms());
        let automaton = built.ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = HashMap::new();
        for form in forms() {
            let mut state = start;
            for (at, byte) in form.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, at + 1);
            }
        }
        let mut idle = Box::new([false; 256]);
        for (byte, idle) in (0..=u8::MAX).zip(idle.iter_mut()) {
            *idle = automaton.next_state(Anchored::No, start, byte) == start;
        }
        Some(Self {
            automaton,
            start,
            idle,
            depths,
        })
    }

    /// Masks a text that stands for itself; `None` if there is nothing to mask.
    pub(super) fn whole(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut masks = Vec::new();
        self.search(self.start, text, 0, &mut masks);
        if masks.is_empty() {
            return None;
        }
        let mut masked = text.to_vec();
        cover(&mut masked, &masks);
        Some(masked)
    }

    /// Goes on from `state` over a text that begins `before` bytes after what the masks count
    /// from; gives the state at its end.
    fn search(
        &self,
        mut state: StateID,
        text: &[u8],
        before: usize,
        masks: &mut Vec<Range<usize>>,
    ) -> StateID {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            if state == self.start && self.idle[usize::from(*byte)] {
                let rest = text.get(at..).unwrap_or_default();
                let begins = |byte: &u8| !self.idle[usize::from(*byte)];
                at += rest.iter().position(begins).unwrap_or(rest.len());
                continue;
            }
            state = self.automaton.next_state(Anchored::No, state, *byte);
            at += 1;
            if self.automaton.is_match(state) {
                let all = 0..self.automaton.match_len(state);
                let length = |index| {
                    let pattern = self.automaton.match_pattern(state, index);
                    self.automaton.pattern_len(pattern)
                };
                let longest = all.map(length).max().unwrap_or(0);
                let end = before + at;
                add(masks, end.saturating_sub(longest)..end);
            }
        }
        state
    }

    fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }
}

/// Adds a range that ends later than all there are, joined with those it touches.
fn add(masks: &mut Vec<Range<usize>>, mut range: Range<usize>) {
    while let Some(last) = masks.last().filter(|last| last.end >= range.start) {
        range.start = range.start.min(last.start);
        masks.pop();
    }
    masks.push(range);
}

fn cover(text: &mut [u8], masks: &[Range<usize>]) {
    for mask in masks {
        if let Some(masked) = text.get_mut(mask.clone()) {
            masked.fill(b'*');
        }
    }
}

/// Masking of one body.
pub(super) struct Masking {
    masker: Arc<Masker>,
    state: StateID,
    /// What may be the beginning of a match; what of it is masked already is so here.
    held: BytesMut,
}

impl Masking {
    pub(super) fn new(masker: Arc<Masker>) -> Self {
        Self {
            state: masker.start,
            masker,
            held: BytesMut::new(),
        }
    }

    /// How many bytes wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes what has come, and gives what can go on.
    pub(super) fn push(&mut self, mut data: Bytes) -> Bytes {
        let mut masks = Vec::new();
        let before = self.held.len();
        let search = self.masker.search(self.state, &data, before, &mut masks);
        self.state = search;
        let total = before + data.len();
        let keep = self.masker.depth(self.state).min(total);
        if before == 0 && masks.is_empty() {
            let tail = data.split_off(total - keep);
            self.held.extend_from_slice(&tail);
            return data;
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(&data);
        cover(&mut whole, &masks);
        self.held = whole.split_off(total - keep);
        whole.freeze()
    }

    /// What is left at the end: it was no secret.
    pub(super) fn end(&mut self) -> Bytes {
        self.state = self.masker.start;
        std::mem::take(&mut self.held).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masking(secrets: &[&str]) -> Masking {
        Masking::new(Arc::new(Masker::new(secrets).unwrap()))
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_the_beginning_of_a_secret_waits() {
        let mut masking = masking(&["secret-value"]);
        let event = Bytes::from_static(b"data: hello\n\n");
        assert_eq!(masking.push(event.clone()).as_ptr(), event.as_ptr());
        assert_eq!(masking.held(), 0);
        assert_eq!(text(&masking.push("data: sec".into())), "data: ");
        assert_eq!(masking.held(), 3);
        assert_eq!(text(&masking.push("ond\n\n".into())), "second\n\n");
        assert_eq!(text(&masking.push("a secret-".into())), "a ");
        assert_eq!(text(&masking.push("value b".into())), "************ b");
        assert_eq!(text(&masking.push("secret-valu".into())), "");
        assert_eq!(text(&masking.end()), "secret-valu");
        assert_eq!(text(&masking.push("e".into())), "e");
    }

    #[test]
    fn overlapping_secrets_are_covered_whole() {
        for (secrets, given, expected) in [
            (&["abcd", "cdef"][..], "-abcdef-", "-******-"),
            (&["abcdef", "cd"], "abcde cd", "ab**e **"),
            (&["aa"], "aaaaa a", "***** a"),
            (&["abcabd", "cab"], "abcabd", "******"),
            (&["abcd", "b"], "abcb", "a*c*"),
        ] {
            let whole = Masker::new(secrets).unwrap().whole(given.as_bytes());
            assert_eq!(whole.unwrap(), expected.as_bytes(), "{given}");
        }
        assert_eq!(Masker::new(&["abc"]).unwrap().whole(b"ab c"), None);
    }

    fn naive(secrets: &[String], given: &[u8]) -> Vec<u8> {
        let mut masked = given.to_vec();
        for secret in secrets {
            for at in 0..given.len() {
                if given[at..].starts_with(secret.as_bytes()) {
                    masked[at..at + secret.len()].fill(b'*');
                }
            }
        }
        masked
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference_and_nothing_waits_without_need(
            secrets in proptest::collection::vec("[ab]{1,5}", 1..4),
            pieces in proptest::collection::vec("[abc]{0,6}", 0..12),
        ) {
            let masker = Masker::new(&secrets).unwrap();
            let mut masking = Masking::new(Arc::new(masker));
            let (mut given, mut got) = (Vec::new(), Vec::new());
            for piece in pieces {
                given.extend_from_slice(piece.as_bytes());
                got.extend_from_slice(&masking.push(piece.into()));
                let begins = |length: &usize| {
                    let tail = &given[given.len() - length..];
                    secrets.iter().any(|secret| secret.as_bytes().starts_with(tail))
                };
                let needed = (1..=given.len().min(5)).rev().find(begins).unwrap_or(0);
                prop_assert_eq!(masking.held(), needed);
                prop_assert_eq!(got.len() + needed, given.len());
            }
            got.extend_from_slice(&masking.end());
            prop_assert_eq!(got, naive(&secrets, &given));
        }
    }
}
