//! Entries as a lockfile has them, and as a key lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tbuild_lock::RequestLock;

use crate::{Entry, Request};

impl From<&RequestLock> for Entry {
    fn from(lock: &RequestLock) -> Self {
        Self {
            request: Request {
                origin: lock.origin.clone(),
                path: lock.path.clone(),
                method: lock.method.clone(),
                body: lock.body,
            },
            asked: map(&lock.asked),
            status: lock.status,
            headers: map(&lock.headers),
            sha256: lock.sha256,
            size: lock.size,
            reduced: lock.reduced,
        }
    }
}

impl From<&Entry> for RequestLock {
    fn from(entry: &Entry) -> Self {
        let Request {
            origin,
            path,
            method,
            body,
        } = entry.request.clone();
        Self {
            origin,
            path,
            method,
            body,
            asked: lines(&entry.asked),
            status: entry.status,
            headers: lines(&entry.headers),
            sha256: entry.sha256,
            size: entry.size,
            reduced: entry.reduced,
            steps: Vec::new(),
        }
    }
}

impl Entry {
    /// All of it on one line: what a program learns by the request.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.request.method, self.request);
        if let Some(body) = &self.request.body {
            let _infallible = write!(line, " sending {body}");
        }
        for asked in lines(&self.asked) {
            let _infallible = write!(line, " [{asked}]");
        }
        let _infallible = write!(line, ": {} {}", self.status, self.sha256);
        for header in lines(&self.headers) {
            let _infallible = write!(line, " [{header}]");
        }
        line
    }
}

fn lines(headers: &BTreeMap<String, String>) -> Vec<String> {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

fn map(lines: &[String]) -> BTreeMap<String, String> {
    lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim_start().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use tbuild_digest::{BlobDigest, Sha256};

    use super::*;

    #[test]
    fn a_lockfile_holds_all_of_an_entry() {
        let entry = Entry {
            request: Request {
                origin: "npm".to_owned(),
                path: "-/audit?x=1".to_owned(),
                method: "POST".to_owned(),
                body: Some(BlobDigest(Sha256::of(b"sent"))),
            },
            asked: BTreeMap::from([("accept".to_owned(), String::new())]),
            status: 302,
            headers: BTreeMap::from([("location".to_owned(), "<npm>/a: b".to_owned())]),
            sha256: BlobDigest(Sha256::of(b"")),
            size: 0,
            reduced: false,
        };
        assert_eq!(Entry::from(&RequestLock::from(&entry)), entry);
        let line = entry.line();
        assert!(
            line.starts_with("POST npm/-/audit?x=1 sending sha256:")
                && line.contains(" [accept: ]: 302 "),
            "{line}"
        );
    }
}
