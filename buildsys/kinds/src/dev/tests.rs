//! The agent in folders of this machine: what it does in containers, it does there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use super::agent::{Agent, Job};
use super::there::{Is, Todo};
use super::wanted::archive;

/// A folder with the roots `app` and `set`, which is not there yet.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("app/main")).unwrap();
        fs::write(folder.path().join("app/main/a b.py"), "old").unwrap();
        fs::write(folder.path().join("app/image's.py"), "kept").unwrap();
        Self(folder)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.0.path().display())
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    /// The agent, with what runs as its reload.
    async fn agent(&self, reload: &str) -> Agent {
        let job = Job {
            name: "code".to_owned(),
            roots: vec![self.at("app"), self.at("set")],
            reload: ["/bin/sh", "-c", reload].map(str::to_owned).to_vec(),
        };
        Agent::here(&job).await.unwrap()
    }

    /// Makes `files` what is there of earlier pushes, as a push does.
    async fn push(
        &self,
        agent: Agent,
        files: &[(&str, &str)],
    ) -> (Todo, Vec<String>, Result<Agent, String>) {
        let is = |text: &str| match text.strip_prefix("-> ") {
            Some(target) => Is::Link(target.to_owned()),
            None => Is::File(tbuild_digest::BlobDigest::of(text.as_bytes()).0),
        };
        let wanted: BTreeMap<String, Is> = files
            .iter()
            .map(|(path, text)| (self.at(path), is(text)))
            .collect();
        let todo = agent.there.todo(wanted.iter());
        let changed = files
            .iter()
            .map(|(path, text)| (self.at(path), (*text).to_owned()))
            .filter(|(path, _)| todo.changed.contains(path))
            .collect::<Vec<_>>();
        let list = agent.there.pushed_after(&todo);
        let text: String = list.iter().flat_map(|path| [path, "\n"]).collect();
        let bytes = archive(&changed, &todo.gone, &text);
        let said = Mutex::new(Vec::new());
        let done = agent
            .put(&bytes, |line| said.lock().unwrap().push(line.to_owned()))
            .await;
        let sent = todo
            .changed
            .iter()
            .map(|path| (path.clone(), wanted[path].clone()));
        let sent = sent.collect();
        let done = done.map_err(|error| error.to_string()).map(|mut agent| {
            agent.there.done(&todo, sent, list);
            agent
        });
        (todo, said.into_inner().unwrap(), done)
    }
}

#[tokio::test]
async fn who_only_looks_writes_nothing() {
    let place = Place::new();
    // It has answered when it is there.
    drop(place.agent("true").await);
    let names = |path| fs::read_dir(place.at(path)).unwrap().count();
    assert_eq!((names(""), names("app")), (1, 2));
}

#[tokio::test]
async fn files_are_put_in_place_and_those_of_earlier_pushes_go() {
    let place = Place::new();
    let agent = place.agent("echo loaded; cat").await;
    let first = [
        ("app/main/a b.py", "new"),
        ("app/main/sub/deep.py", "deep"),
        ("app/link", "-> image's.py"),
        ("set/ui/styles.css", "a"),
    ];
    let (todo, said, done) = place.push(agent, &first).await;
    assert_eq!((todo.changed.len(), todo.gone.len()), (4, 0));
    assert_eq!(said, ["loaded"]);
    assert_eq!(place.read("app/main/a b.py").unwrap(), "new");
    assert_eq!(place.read("app/main/sub/deep.py").unwrap(), "deep");
    assert_eq!(place.read("app/link").unwrap(), "kept");
    assert_eq!(place.read("set/ui/styles.css").unwrap(), "a");
    // Over the same connection; a file where a folder was, and a folder where a file was.
    let second = [
        ("app/main/sub", "a file now"),
        ("app/main/a b.py/x.py", "x"),
        ("set/ui/styles.css", "a"),
    ];
    let (todo, _, done) = place.push(done.unwrap(), &second).await;
    assert_eq!(
        todo.changed,
        [place.at("app/main/a b.py/x.py"), place.at("app/main/sub")]
    );
    assert_eq!(place.read("app/main/sub").unwrap(), "a file now");
    assert_eq!(place.read("app/main/a b.py/x.py").unwrap(), "x");
    assert_eq!(place.read("app/link"), None);
    assert_eq!(place.read("app/image's.py").unwrap(), "kept");
    // And another agent finds what this one has left.
    drop(done);
    let (todo, ..) = place.push(place.agent("true").await, &second).await;
    assert!(todo.is_nothing(), "{todo:?}");
    let own: Vec<_> = fs::read_dir(place.at(".tbuild-dev"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
}

#[tokio::test]
async fn what_a_reload_says_is_told_when_it_fails_and_it_is_made_up_for() {
    let place = Place::new();
    let agent = place.agent("echo no such module >&2; exit 3").await;
    let files = [("app/main/a b.py", "new")];
    let (_, said, done) = place.push(agent, &files).await;
    assert_eq!(said, ["no such module"]);
    assert_eq!(done.err().unwrap(), "here: no such module");
    let (todo, said, done) = place.push(place.agent("echo loaded").await, &files).await;
    assert!(todo.changed.is_empty() && todo.due);
    assert_eq!(said, ["loaded"]);
    let (todo, ..) = place.push(done.unwrap(), &files).await;
    assert!(todo.is_nothing());
}

#[tokio::test]
async fn a_program_that_ends_too_early_is_told_of() {
    let job = Job {
        name: "code".to_owned(),
        roots: vec!["/proc/none/such".to_owned()],
        reload: Vec::new(),
    };
    let agent = Agent::here(&job).await.unwrap();
    assert!(agent.there.todo(BTreeMap::new().iter()).is_nothing());
    assert!(
        agent
            .put(b"nothing can be put there", |_| {})
            .await
            .is_err()
    );
}
