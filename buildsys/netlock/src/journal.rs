//! What was recorded, and what a step asked for and did not get.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use crate::{Entry, Request};

/// What the gateway does about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Asks the origin, once for each request.
    Record,
    /// Answers with what was recorded; opens no connection.
    Replay,
    /// Answers with what was recorded, and asks the origin for the rest.
    Extend,
}

/// A request that nothing recorded answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// What was asked for.
    pub request: Request,
    /// What is recorded and most like it.
    pub nearest: Option<String>,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, body, .. } = &self.request;
        write!(f, "{method} {} ", self.request)?;
        if body.is_some() {
            f.write_str("with what it sends ")?;
        }
        f.write_str("is not recorded")?;
        match &self.nearest {
            Some(nearest) => write!(f, "; the nearest is {nearest}"),
            None => Ok(()),
        }
    }
}

/// The requests of one step.
#[derive(Debug, Default)]
pub struct Journal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Request, Vec<Entry>>,
    /// What was asked for and answered.
    used: BTreeSet<(Request, BTreeMap<String, String>)>,
    misses: Vec<Miss>,
    failures: Vec<String>,
    lost: Vec<Request>,
}

impl State {
    fn keep(&mut self, entry: Entry) {
        let answers = self.entries.entry(entry.request.clone()).or_default();
        answers.retain(|one| one.asked != entry.asked);
        answers.push(entry);
        answers.sort_by(|a, b| a.asked.cmp(&b.asked));
    }

    fn use_of(&mut self, entry: &Entry) {
        self.used
            .insert((entry.request.clone(), entry.asked.clone()));
    }
}

impl Journal {
    /// One that holds what was recorded.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let journal = Self::default();
        for entry in entries {
            journal.state().keep(entry);
        }
        journal
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What answered the step, sorted by place: what was recorded now, and what of earlier times was asked for.
    pub fn entries(&self) -> Vec<Entry> {
        let state = self.state();
        let entries = state.entries.values().flatten();
        entries
            .filter(|entry| {
                let key = (entry.request.clone(), entry.asked.clone());
                state.used.contains(&key)
            })
            .cloned()
            .collect()
    }

    /// What was asked for and not recorded, in the order of asking.
    pub fn misses(&self) -> Vec<Miss> {
        self.state().misses.clone()
    }

    /// What is recorded and was asked for, and whose bytes nobody has any more.
    pub fn lost(&self) -> Vec<Request> {
        self.state().lost.clone()
    }

    /// What went wrong between the gateway and origins, in words.
    pub fn failures(&self) -> Vec<String> {
        self.state().failures.clone()
    }

    /// The answer to a request: of several, the one that was chosen by most.
    pub(crate) fn find(&self, request: &Request, asked: &HeaderMap) -> Option<Entry> {
        let mut state = self.state();
        let answers = state.entries.get(request)?.iter();
        let found = answers
            .filter(|entry| entry.answers(asked))
            .max_by_key(|entry| entry.asked.len())
            .cloned()?;
        state.use_of(&found);
        Some(found)
    }

    /// Adds an answer, in the place of an earlier one to the same question.
    pub(crate) fn record(&self, entry: Entry) {
        let mut state = self.state();
        state.use_of(&entry);
        state.keep(entry);
    }

    /// Notes that nothing answers a request.
    pub(crate) fn miss(&self, request: Request) -> Miss {
        let mut state = self.state();
        let nearest = state
            .entries
            .keys()
            .map(|known| (likeness(&known.to_string(), &request.to_string()), known))
            .max_by_key(|(alike, _)| *alike)
            .filter(|(alike, _)| *alike > 0)
            .map(|(_, known)| known.to_string());
        let miss = Miss { request, nearest };
        if !state.misses.contains(&miss) {
            state.misses.push(miss.clone());
        }
        miss
    }

    /// Notes that the bytes of a recorded answer are nowhere to be had.
    pub(crate) fn lose(&self, request: Request) {
        let mut state = self.state();
        if !state.lost.contains(&request) {
            state.lost.push(request);
        }
    }

    /// Notes that an origin could not be had.
    pub(crate) fn fail(&self, why: String) {
        self.state().failures.push(why);
    }
}

/// How many bytes two URLs share at their beginning and at their end, past the scheme.
fn likeness(a: &str, b: &str) -> usize {
    fn rest(url: &str) -> &[u8] {
        url.split_once("://")
            .map_or(url, |(_, rest)| rest)
            .as_bytes()
    }
    let (a, b) = (rest(a), rest(b));
    let first = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[first..], &b[first..]);
    first
        + a.iter()
            .rev()
            .zip(b.iter().rev())
            .take_while(|(a, b)| a == b)
            .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(url: &str, accept: &str, status: u16) -> Entry {
        Entry {
            request: request(url),
            asked: BTreeMap::from([("accept".to_owned(), accept.to_owned())]),
            status,
            headers: BTreeMap::new(),
            sha256: tbuild_digest::BlobDigest(tbuild_digest::Sha256::of(b"")),
            size: 0,
            reduced: false,
        }
    }

    fn request(url: &str) -> Request {
        let (origin, path) = url.split_at(url[8..].find('/').expect("a path") + 8);
        Request {
            origin: origin.to_owned(),
            path: path[1..].to_owned(),
            method: "GET".to_owned(),
            body: None,
        }
    }

    #[test]
    fn answers_are_chosen_by_what_is_asked() {
        let journal = Journal::of([
            entry("https://example.com/a", "text/html", 200),
            entry("https://example.com/a", "application/json", 404),
        ]);
        let mut asked = HeaderMap::new();
        let wanted = request("https://example.com/a");
        assert_eq!(journal.find(&wanted, &asked), None);
        asked.insert("accept", "application/json".parse().expect("a value"));
        assert_eq!(
            journal.find(&wanted, &asked).map(|entry| entry.status),
            Some(404)
        );
        journal.record(entry("https://example.com/a", "application/json", 200));
        assert_eq!(
            journal.find(&wanted, &asked).map(|entry| entry.status),
            Some(200)
        );
        assert_eq!(journal.entries().len(), 1, "only what was asked for");
    }

    #[test]
    fn a_miss_names_what_is_most_alike() {
        let journal = Journal::of([
            entry("https://example.com/pool/a_1.0_amd64.deb", "", 200),
            entry("https://other.example.com/", "", 200),
        ]);
        let miss = journal.miss(request("https://example.com/pool/a_1.1_amd64.deb"));
        assert_eq!(
            miss.nearest.as_deref(),
            Some("https://example.com/pool/a_1.0_amd64.deb")
        );
        assert_eq!(journal.misses(), [miss]);
    }
}
