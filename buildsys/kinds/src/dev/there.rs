//! What is in a container, what is to be, and what that makes to do.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_digest::Sha256;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Is {
    /// A regular file with this content.
    File(Sha256),
    /// A symbolic link.
    Link(String),
}

/// What is in a container where files go to. Modes and owners are not asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct There {
    /// By absolute path.
    pub files: BTreeMap<String, Is>,
    /// What earlier pushes wrote.
    pub pushed: BTreeSet<String>,
    /// Whether files were written whose reload did not come to its end.
    pub due: bool,
}

/// What makes a container what it is to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Todo {
    /// To be written.
    pub changed: Vec<String>,
    /// To be removed.
    pub gone: Vec<String>,
    /// To be reloaded, even if nothing is to be written.
    pub due: bool,
}

impl There {
    /// Takes in a line of what the agent says (agent.sh). A line that means nothing is let be: programs of the
    /// container may say something as well.
    pub(super) fn line(&mut self, line: &str, link: &mut Option<String>) {
        if let Some(target) = line.strip_prefix(" to ") {
            if let Some(path) = link.take() {
                self.files.insert(path, Is::Link(target.to_owned()));
            }
        } else if let Some(path) = line.strip_prefix("link ") {
            *link = Some(path.to_owned());
        } else if let Some(path) = line.strip_prefix("pushed ") {
            self.pushed.insert(path.to_owned());
        } else if line == "due" {
            self.due = true;
        } else if let Some((digest, path)) = line.split_once("  ")
            && let Ok(digest) = Sha256::from_hex(digest)
        {
            self.files.insert(path.to_owned(), Is::File(digest));
        }
    }

    /// What is to be done so that `wanted` is there, and nothing that an earlier push wrote and that is not wanted.
    pub(super) fn todo<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a String, &'a Is)> + Clone,
    ) -> Todo {
        let differs = |(path, is): &(&String, &Is)| self.files.get(*path) != Some(*is);
        let keep: BTreeSet<&String> = wanted.clone().map(|(path, _)| path).collect();
        let gone = self.pushed.iter();
        Todo {
            changed: wanted
                .filter(differs)
                .map(|(path, _)| path.clone())
                .collect(),
            gone: gone
                .filter(|path| !keep.contains(path) && self.files.contains_key(*path))
                .cloned()
                .collect(),
            due: self.due,
        }
    }
}

impl There {
    /// What pushes have written, once this is done.
    pub(super) fn pushed_after(&self, todo: &Todo) -> BTreeSet<String> {
        let mut list = self.pushed.clone();
        list.extend(todo.changed.iter().cloned());
        for path in &todo.gone {
            list.remove(path);
        }
        list
    }

    /// It is done: these files were written.
    pub(super) fn done(&mut self, todo: &Todo, sent: Vec<(String, Is)>, list: BTreeSet<String>) {
        for path in &todo.gone {
            self.files.remove(path);
        }
        self.files.extend(sent);
        self.pushed = list;
        self.due = false;
    }
}

impl Todo {
    /// Whether all is as it is to be.
    pub(super) fn is_nothing(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty() && !self.due
    }

    /// Why something is to be done, in words.
    pub(super) fn reason(&self, pod: &str) -> String {
        match (self.changed.len(), self.gone.len()) {
            (0, 0) => format!("{pod} was not reloaded"),
            (changed, 0) => format!("{pod} lacks {}", files(changed)),
            (0, gone) => format!("{pod} has {} too many", files(gone)),
            (changed, gone) => {
                format!(
                    "{pod} lacks {} and has {} too many",
                    files(changed),
                    files(gone)
                )
            }
        }
    }
}

/// A number of files, in words.
pub(super) fn files(count: usize) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str) -> Is {
        Is::File(tbuild_digest::BlobDigest::of(text.as_bytes()).0)
    }

    fn there(lines: &[String]) -> There {
        let (mut there, mut link) = (There::default(), None);
        for line in lines {
            there.line(line, &mut link);
        }
        there
    }

    fn sum(text: &str, path: &str) -> String {
        let digest = tbuild_digest::BlobDigest::of(text.as_bytes()).hex();
        format!("{digest}  {path}")
    }

    #[test]
    fn only_what_differs_is_written_and_only_what_was_pushed_is_removed() {
        let there = there(&[
            "pushed /app/old.py".to_owned(),
            "pushed /app/gone already.py".to_owned(),
            "hello from a profile".to_owned(),
            sum("a", "/app/a.py"),
            sum("b", "/app/b c.py"),
            sum("old", "/app/old.py"),
            sum("made", "/app/of the image.py"),
            "link /app/link".to_owned(),
            " to a.py".to_owned(),
        ]);
        let wanted = BTreeMap::from([
            ("/app/a.py".to_owned(), is("a")),
            ("/app/b c.py".to_owned(), is("changed")),
            ("/app/link".to_owned(), Is::Link("a.py".to_owned())),
            ("/app/new.py".to_owned(), is("new")),
        ]);
        let todo = there.todo(wanted.iter());
        assert_eq!(todo.changed, ["/app/b c.py", "/app/new.py"]);
        assert_eq!(todo.gone, ["/app/old.py"]);
        assert_eq!(
            todo.reason("web-1"),
            "web-1 lacks 2 files and has 1 file too many"
        );
    }

    #[test]
    fn a_reload_that_did_not_come_is_made_up_for() {
        let lines = [sum("a", "/app/a.py"), "due".to_owned()];
        let wanted = BTreeMap::from([("/app/a.py".to_owned(), is("a"))]);
        let todo = there(&lines).todo(wanted.iter());
        assert!(todo.due && todo.changed.is_empty() && !todo.is_nothing());
        assert!(there(&lines[..1]).todo(wanted.iter()).is_nothing());
    }
}
