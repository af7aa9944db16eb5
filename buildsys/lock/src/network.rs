//! The lock of what the steps of an image asked of the network.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;

use crate::Day;
use crate::field::{maybe_sha256, sha256};
use crate::lasting::is_lasting;

/// The steps of one image, and every request of theirs with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkLock {
    /// Whose steps they are.
    pub node: String,
    /// The steps that were recorded, be it that they asked for nothing.
    #[serde(default, rename = "step", skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepLock>,
    /// What they asked for, sorted by origin and path.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestLock>,
}

/// A step that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepLock {
    /// What its requests name it by: made of its stage and its text.
    pub id: String,
    /// The instruction, for readers.
    pub text: String,
    /// When it was answered so for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Day>,
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RequestLock {
    /// Who answered: an origin's logical name, or scheme and host of one that has none.
    pub origin: String,
    /// What follows: the path below the origin, with the query.
    pub path: String,
    /// `GET`, ...
    pub method: String,
    /// The SHA-256 of what was sent with it.
    #[serde(
        default,
        with = "maybe_sha256",
        skip_serializing_if = "Option::is_none"
    )]
    pub body: Option<BlobDigest>,
    /// The headers of the request that chose the answer: `name: value`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// 200, ...
    pub status: u16,
    /// The headers of the answer that programs act on: `name: value`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The SHA-256 of the answer's body as it was sent.
    #[serde(with = "sha256")]
    pub sha256: BlobDigest,
    /// Its bytes.
    pub size: u64,
    /// Whether it is the origin's answer cut down to what was needed of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reduced: bool,
    /// Which steps asked for it.
    pub steps: Vec<String>,
}

impl RequestLock {
    /// Whether its origin never changes it: with place and digest it can be had again for as long as it is there.
    pub fn is_lasting(&self) -> bool {
        !self.reduced && is_lasting(&self.method, &self.path, self.status)
    }

    /// Whether it is the same question with the same answer, whoever asked.
    fn is_like(&self, other: &Self) -> bool {
        // Digests first: locks of large package managers have thousands of requests, each looked for among all.
        self.sha256 == other.sha256
            && (&self.origin, &self.path, &self.method, &self.body)
                == (&other.origin, &other.path, &other.method, &other.body)
            && (&self.asked, self.status, &self.headers, self.reduced)
                == (&other.asked, other.status, &other.headers, other.reduced)
    }
}

impl NetworkLock {
    /// The lock of a node none of whose steps was recorded.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            steps: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// What a step asked for; none if the step is not recorded.
    pub fn of_step(&self, id: &str) -> Option<Vec<&RequestLock>> {
        let is_known = self.steps.iter().any(|step| step.id == id);
        let asked = |request: &&RequestLock| request.steps.iter().any(|step| step == id);
        is_known.then(|| self.requests.iter().filter(asked).collect())
    }

    /// Puts what a step asked for in the place of what it asked for before. Which steps the requests name is not
    /// looked at. A step that is answered as it was keeps its day, if it has one.
    pub fn put(&mut self, step: StepLock, requests: impl IntoIterator<Item = RequestLock>) {
        let before = self.plain(&step.id);
        let day_before = self.steps.iter().find(|known| known.id == step.id);
        let day_before = day_before.and_then(|known| known.when);
        let id = step.id.clone();
        for request in &mut self.requests {
            request.steps.retain(|id| *id != step.id);
        }
        for request in requests {
            let known = self
                .requests
                .iter_mut()
                .find(|known| known.is_like(&request));
            match known {
                Some(known) => known.steps.push(step.id.clone()),
                None => self.requests.push(RequestLock {
                    steps: vec![step.id.clone()],
                    ..request
                }),
            }
        }
        self.requests.retain(|request| !request.steps.is_empty());
        self.steps.retain(|known| known.id != step.id);
        self.steps.push(step);
        self.sort();
        let is_as_before = before.is_some() && before == self.plain(&id);
        let known = self.steps.iter_mut().find(|known| known.id == id);
        if let (true, Some(day), Some(known)) = (is_as_before, day_before, known) {
            known.when = Some(day);
        }
    }

    /// What a step asked for, as if it were the only one.
    fn plain(&self, id: &str) -> Option<Vec<RequestLock>> {
        let requests = self.of_step(id)?.into_iter().cloned();
        let alone = requests.map(|request| RequestLock {
            steps: Vec::new(),
            ..request
        });
        Some(alone.collect())
    }

    /// Leaves the steps with these ids, and what they asked for; the others come back.
    pub fn keep(&mut self, ids: &BTreeSet<String>) -> Vec<StepLock> {
        let gone = |step: &mut StepLock| !ids.contains(&step.id);
        let gone: Vec<StepLock> = self.steps.extract_if(.., gone).collect();
        for request in &mut self.requests {
            request.steps.retain(|id| ids.contains(id));
        }
        self.requests.retain(|request| !request.steps.is_empty());
        gone
    }

    /// Sorts what has no order of its own.
    pub(crate) fn sort(&mut self) {
        self.steps.sort_by(|a, b| a.id.cmp(&b.id));
        for request in &mut self.requests {
            request.asked.sort();
            request.headers.sort();
            request.steps.sort();
            request.steps.dedup();
        }
        self.requests.sort();
    }

    /// What is locked twice, in a sorted lock.
    pub(crate) fn duplicate(&self) -> Option<String> {
        let steps = self.steps.windows(2).find(|pair| pair[0].id == pair[1].id);
        let requests = self
            .requests
            .windows(2)
            .find(|pair| pair[0].is_like(&pair[1]));
        steps
            .map(|pair| format!("step {}", pair[0].id))
            .or_else(|| requests.map(|pair| format!("{}/{}", pair[0].origin, pair[0].path)))
    }

    /// What does not go together.
    pub(crate) fn fault(&self) -> Option<String> {
        self.requests.iter().find_map(|request| {
            let is_known = |id: &String| self.steps.iter().any(|step| step.id == *id);
            let unknown = request.steps.iter().find(|id| !is_known(id))?;
            Some(format!(
                "{}/{} is of step {unknown:?}, which is not there",
                request.origin, request.path
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use tbuild_digest::Sha256;

    use super::*;

    fn request(path: &str, body: &str) -> RequestLock {
        RequestLock {
            origin: "debian".to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
            body: None,
            asked: vec!["accept: text/html".to_owned()],
            status: 200,
            headers: Vec::new(),
            sha256: BlobDigest(Sha256::of(body.as_bytes())),
            size: body.len() as u64,
            reduced: false,
            steps: Vec::new(),
        }
    }

    fn step(id: &str) -> StepLock {
        StepLock {
            id: id.to_owned(),
            text: "RUN apt-get update".to_owned(),
            when: None,
        }
    }

    #[test]
    fn what_is_recorded_again_changes_alone() {
        let mut lock = NetworkLock::new("web");
        lock.put(step("two"), [request("b", "1"), request("a", "1")]);
        let before = lock.to_text();
        lock.put(step("one"), [request("a", "1"), request("c", "1")]);
        assert_eq!(lock.requests[0].steps, ["one", "two"]);
        assert_eq!(
            NetworkLock::parse("web.lock", &lock.to_text()),
            Ok(lock.clone())
        );
        assert_eq!(lock.of_step("one").map(|found| found.len()), Some(2));
        assert_eq!(lock.of_step("three"), None);
        // Another answer to the same question is the other step's no more.
        lock.put(step("one"), [request("a", "2")]);
        assert_eq!(lock.requests.len(), 3);
        lock.put(step("one"), []);
        assert_eq!(lock.of_step("one"), Some(Vec::new()));
        let gone = lock.keep(&BTreeSet::from(["two".to_owned(), "three".to_owned()]));
        assert_eq!(gone, [step("one")]);
        assert_eq!(lock.to_text(), before);
        lock.put(step("one"), [request("a", "1"), request("c", "1")]);
        lock.keep(&BTreeSet::from(["two".to_owned()]));
        assert_eq!(lock.to_text(), before);
    }

    #[test]
    fn a_step_keeps_its_day_as_long_as_it_is_answered_so() {
        let on = |id: &str, day: u64| StepLock {
            when: Some(Day::of_unix(day * 86_400)),
            ..step(id)
        };
        let day_of = |lock: &NetworkLock| lock.steps[0].when.map(|day| day.to_string());
        let mut lock = NetworkLock::new("web");
        lock.put(step("one"), [request("a", "1"), request("b", "1")]);
        assert!(!lock.to_text().contains("when"), "of an older tbuild");
        lock.put(on("one", 0), [request("b", "1"), request("a", "1")]);
        assert_eq!(day_of(&lock).as_deref(), Some("1970-01-01"));
        // What another step asks for is its own matter.
        lock.put(on("two", 1), [request("a", "1"), request("c", "1")]);
        let before = lock.to_text();
        lock.put(on("one", 2), [request("a", "1"), request("b", "1")]);
        assert_eq!(lock.to_text(), before);
        lock.put(on("one", 2), [request("a", "1"), request("b", "2")]);
        assert_eq!(day_of(&lock).as_deref(), Some("1970-01-03"));
        assert_eq!(
            NetworkLock::parse("web.lock", &lock.to_text()),
            Ok(lock.clone())
        );
        let bad = lock.to_text().replace("1970-01-03", "1970-02-31");
        let error = NetworkLock::parse("web.lock", &bad).expect_err("refused");
        let why = "\"1970-02-31\" is no day such as 2026-11-22";
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn a_request_of_no_step_is_refused() {
        let mut lock = NetworkLock::new("web");
        lock.put(step("one"), [request("a", "1")]);
        lock.steps.clear();
        let error = NetworkLock::parse("web.lock", &lock.to_text()).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "web.lock: debian/a is of step \"one\", which is not there"
        );
    }
}
