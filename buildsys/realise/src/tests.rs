use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tbuild_exec::Cancel;
use tbuild_graph::{Graph, KeyManifest, NodeId, NodeKind};
use tbuild_store::Store;
use tbuild_store_local::LocalStore;

use super::*;

/// An op that joins its inputs' texts with its own, in capitals if told so.
struct Join {
    text: String,
    runs: Arc<AtomicUsize>,
    /// What it makes instead of joining, to show early cutoff.
    fixed: Option<String>,
    fails: bool,
    order: Arc<Mutex<Vec<String>>>,
    cost: u64,
}

#[async_trait]
impl Op for Join {
    fn title(&self) -> String {
        self.text.clone()
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let texts = inputs
            .iter()
            .map(|input| input.get::<String>().expect("a text").to_string());
        let manifest = KeyManifest::new("join/1")
            .text("text", &self.text)
            .list("input", texts);
        Ok(Prepared::Action(Work {
            manifest,
            impure: vec![],
            force: false,
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        inputs: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.order.lock().expect("no panic").push(self.text.clone());
        cx.output(
            tbuild_exec::Stream::Stdout,
            format!("working on {}\n", self.text).as_bytes(),
        );
        if self.fails {
            return Err(OpError::failed_text("it fails"));
        }
        let inputs: String = inputs
            .iter()
            .map(|input| input.get::<String>().expect("a text").to_string())
            .collect();
        Ok(json!(
            self.fixed
                .clone()
                .unwrap_or_else(|| format!("{inputs}{}", self.text))
        ))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        Ok(result.as_str().map(|text| Output::new(text.to_owned())))
    }

    fn default_cost(&self, _: NodeKind) -> u64 {
        self.cost
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    runs: Arc<AtomicUsize>,
    order: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(LocalStore::open(folder.path()).expect("a store"));
        Self {
            _folder: folder,
            store,
            runs: Arc::default(),
            order: Arc::default(),
        }
    }

    fn op(&self, text: &str) -> Join {
        let (runs, order) = (Arc::clone(&self.runs), Arc::clone(&self.order));
        Join {
            text: text.to_owned(),
            runs,
            fixed: None,
            fails: false,
            order,
            cost: 1,
        }
    }

    async fn realise(
        &self,
        graph: Graph<Box<dyn Op>>,
        targets: &[NodeId],
        options: Options,
    ) -> Outcome {
        self.realise_with(graph, targets, options, &Cancel::new())
            .await
    }

    async fn realise_with(
        &self,
        graph: Graph<Box<dyn Op>>,
        targets: &[NodeId],
        options: Options,
        cancel: &Cancel,
    ) -> Outcome {
        self.runs.store(0, Ordering::SeqCst);
        self.order.lock().expect("no panic").clear();
        let store = Arc::clone(&self.store);
        realise(
            Arc::new(graph),
            targets,
            store,
            Arc::new(|_| {}),
            cancel.clone(),
            options,
        )
        .await
        .expect("no cycle")
    }

    fn ran(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

const PLAIN: Options = Options {
    jobs: 2,
    keep_going: false,
    plan_only: false,
};

fn add(graph: &mut Graph<Box<dyn Op>>, name: &str, inputs: Vec<NodeId>, op: Join) -> NodeId {
    graph
        .add(NodeKind::Step, name, inputs, Box::new(op))
        .expect("one name once")
}

/// a -> b -> c, with `a` saying `text` and making `fixed`.
fn chain(world: &World, text: &str, fixed: Option<&str>) -> (Graph<Box<dyn Op>>, NodeId) {
    let mut graph = Graph::new();
    let first = Join {
        fixed: fixed.map(str::to_owned),
        ..world.op(text)
    };
    let a = add(&mut graph, "a", vec![], first);
    let b = add(&mut graph, "b", vec![a], world.op("b"));
    let c = add(&mut graph, "c", vec![b], world.op("c"));
    (graph, c)
}

#[tokio::test]
async fn runs_once_then_never_again() {
    let world = World::new();
    let (graph, c) = chain(&world, "a", None);
    let outcome = world.realise(graph, &[c], PLAIN).await;
    assert_eq!(*outcome.outputs[&c].get::<String>().expect("a text"), "abc");
    assert_eq!(
        (world.ran(), outcome.summary.ran, outcome.summary.cached),
        (3, 3, 0)
    );
    let (graph, c) = chain(&world, "a", None);
    let outcome = world.realise(graph, &[c], PLAIN).await;
    assert_eq!(
        (world.ran(), outcome.summary.ran, outcome.summary.cached),
        (0, 0, 3)
    );
}

#[tokio::test]
async fn an_input_rebuilt_to_the_same_stops_the_rebuild() {
    let world = World::new();
    let (graph, c) = chain(&world, "a", Some("same"));
    world.realise(graph, &[c], PLAIN).await;
    let (graph, c) = chain(&world, "changed", Some("same"));
    let outcome = world.realise(graph, &[c], PLAIN).await;
    assert_eq!(world.ran(), 1, "only a itself");
    assert_eq!(outcome.summary.cached, 2);
}

#[tokio::test]
async fn a_plan_runs_nothing_and_records_nothing() {
    let world = World::new();
    for _ in 0..2 {
        let (graph, c) = chain(&world, "a", None);
        let outcome = world
            .realise(
                graph,
                &[c],
                Options {
                    plan_only: true,
                    ..PLAIN
                },
            )
            .await;
        assert_eq!((world.ran(), outcome.summary.pending), (0, 3));
        assert_eq!(outcome.statuses[&c], Status::MayRun);
    }
}

#[tokio::test]
async fn a_failure_stops_the_rest_unless_told_to_go_on() {
    for keep_going in [false, true] {
        let world = World::new();
        let mut graph = Graph::new();
        let bad = add(
            &mut graph,
            "bad",
            vec![],
            Join {
                fails: true,
                cost: 100,
                ..world.op("bad")
            },
        );
        let after = add(&mut graph, "after", vec![bad], world.op("after"));
        let other = add(&mut graph, "other", vec![], world.op("other"));
        let options = Options {
            jobs: 1,
            keep_going,
            plan_only: false,
        };
        let outcome = world.realise(graph, &[after, other], options).await;
        assert_eq!(outcome.failures.len(), 1);
        assert_eq!(outcome.failures[0].log, b"working on bad\n");
        assert_eq!(outcome.statuses[&bad], Status::Failed);
        assert_eq!(outcome.statuses[&after], Status::Skipped);
        let expected = if keep_going {
            Status::Ran
        } else {
            Status::Cancelled
        };
        assert_eq!(outcome.statuses[&other], expected);
    }
}

#[tokio::test]
async fn the_critical_path_goes_first() {
    let world = World::new();
    let mut graph = Graph::new();
    let short = add(&mut graph, "short", vec![], world.op("short"));
    let long = add(&mut graph, "long", vec![], world.op("long"));
    let tail = add(
        &mut graph,
        "tail",
        vec![long],
        Join {
            cost: 50,
            ..world.op("tail")
        },
    );
    let options = Options { jobs: 1, ..PLAIN };
    // Both are ready at once; the one that more hangs on is taken first once the first slot is free.
    let blocker = add(
        &mut graph,
        "blocker",
        vec![],
        Join {
            cost: 1000,
            ..world.op("blocker")
        },
    );
    world.realise(graph, &[short, tail, blocker], options).await;
    let order = world.order.lock().expect("no panic").clone();
    let at = |name: &str| order.iter().position(|text| text == name).expect("it ran");
    assert!(at("long") < at("short") || at("short") == 0, "{order:?}");
}

#[tokio::test]
async fn cancelling_ends_everything() {
    let world = World::new();
    let (graph, c) = chain(&world, "a", None);
    let cancel = Cancel::new();
    cancel.cancel();
    let targets = [c];
    let outcome = tokio::time::timeout(
        Duration::from_secs(10),
        world.realise_with(graph, &targets, PLAIN, &cancel),
    );
    let outcome = outcome.await.expect("it ends");
    assert_eq!((world.ran(), outcome.summary.skipped), (0, 3));
}

#[tokio::test]
async fn two_nodes_of_one_key_run_once() {
    let world = World::new();
    let mut graph = Graph::new();
    let one = add(&mut graph, "one", vec![], world.op("same"));
    let two = add(&mut graph, "two", vec![], world.op("same"));
    world.realise(graph, &[one, two], PLAIN).await;
    assert_eq!(world.ran(), 1);
}

#[tokio::test]
async fn remembers_what_it_was_before() {
    let world = World::new();
    for text in ["a", "b", "b"] {
        let mut graph = Graph::new();
        let node = add(&mut graph, "node", vec![], world.op(text));
        world.realise(graph, &[node], PLAIN).await;
    }
    let known = last(world.store.as_ref(), "node")
        .expect("readable")
        .expect("there");
    let previous =
        read_record(world.store.as_ref(), &known.previous.expect("two keys")).expect("readable");
    let changes = tbuild_graph::explain(
        &previous.expect("there").manifest,
        &read_record(world.store.as_ref(), &known.key)
            .expect("readable")
            .expect("there")
            .manifest,
    );
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [r#"text changed: "a" -> "b""#]
    );
}

/// An op that learns by running what decides its output, and is told of it from then on.
struct Learns {
    known: Option<&'static str>,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl Op for Learns {
    fn title(&self) -> String {
        "learn".to_owned()
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let manifest = KeyManifest::new("learns/1");
        Ok(Prepared::Action(Work {
            manifest: match self.known {
                Some(known) => manifest.text("known", known),
                None => manifest,
            },
            impure: vec!["network".to_owned()],
            force: self.known.is_none(),
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        _: &Context,
        _: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        // What it makes is never the same twice.
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        self.runs.fetch_add(1, Ordering::SeqCst);
        let run = RUNS.fetch_add(1, Ordering::SeqCst);
        Ok(json!({ "found": "found", "run": run.to_string() }))
    }

    fn settled(&self, manifest: &KeyManifest, result: &serde_json::Value) -> Option<KeyManifest> {
        let found = result["found"].as_str()?;
        let is_new = self.known.is_none();
        is_new.then(|| manifest.clone().text("known", found))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let run = result["run"].as_str();
        Ok(run.map(|run| Output::new(run.to_owned())))
    }
}

#[tokio::test]
async fn what_a_run_has_found_out_is_known_by_it() {
    let world = World::new();
    let graph = |known| {
        let mut graph: Graph<Box<dyn Op>> = Graph::new();
        let runs = Arc::clone(&world.runs);
        let op = Box::new(Learns { known, runs });
        let node = graph.add(NodeKind::Step, "a", vec![], op).expect("one");
        (graph, node)
    };
    let ran = async |known| {
        let (graph, node) = graph(known);
        let outcome = world.realise(graph, &[node], PLAIN).await;
        assert!(outcome.outputs.contains_key(&node));
        world.ran()
    };
    assert_eq!(ran(None).await, 1);
    assert_eq!(ran(Some("found")).await, 0);
    assert_eq!(ran(Some("other")).await, 1);
    let key = KeyManifest::new("learns/1").text("known", "found").key();
    let record = read_record(world.store.as_ref(), &key).expect("read");
    assert_eq!(record.expect("kept").impure, Vec::<String>::new());
}

/// Locking again what is as it was leaves what was built on it as it is.
#[tokio::test]
async fn what_is_found_out_again_is_what_it_was() {
    let world = World::new();
    let made = async |known| {
        let mut graph: Graph<Box<dyn Op>> = Graph::new();
        let runs = Arc::clone(&world.runs);
        let op = Box::new(Learns { known, runs });
        let node = graph.add(NodeKind::Step, "a", vec![], op).expect("one");
        let outcome = world.realise(graph, &[node], PLAIN).await;
        let made: Arc<String> = outcome.outputs[&node].get().expect("text");
        made.to_string()
    };
    let first = made(None).await;
    assert_eq!(world.ran(), 1);
    assert_eq!(made(None).await, first);
    assert_eq!(world.ran(), 1);
    assert_eq!(made(Some("found")).await, first);
    assert_eq!(world.ran(), 0);
}

#[tokio::test]
async fn nodes_that_are_one_action_find_out_once() {
    let world = World::new();
    let mut graph: Graph<Box<dyn Op>> = Graph::new();
    let mut add = |name: &str, inputs| {
        let op = Learns {
            known: None,
            runs: Arc::clone(&world.runs),
        };
        graph
            .add(NodeKind::Step, name, inputs, Box::new(op))
            .expect("one")
    };
    // At the same time, and after both.
    let (a, b) = (add("a", vec![]), add("b", vec![]));
    let c = add("c", vec![a, b]);
    let outcome = world.realise(graph, &[c], PLAIN).await;
    assert_eq!(outcome.outputs.len(), 3);
    assert_eq!(world.ran(), 1);
}

/// Waits while it runs until `gate` opens, or opens it.
struct Gate {
    opens: bool,
    gate: Arc<tokio::sync::Semaphore>,
}

#[async_trait]
impl Op for Gate {
    fn title(&self) -> String {
        "pass".to_owned()
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        Ok(Prepared::Action(Work {
            manifest: KeyManifest::new("gate/1").text("opens", self.opens.to_string()),
            impure: vec![],
            force: false,
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        _: &Context,
        _: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        if self.opens {
            self.gate.add_permits(1);
        } else {
            let _passed = self.gate.acquire().await.expect("it stays open");
        }
        Ok(json!("passed"))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        Ok(result.as_str().map(|text| Output::new(text.to_owned())))
    }
}

#[tokio::test]
async fn who_waits_for_its_twin_takes_no_place() {
    let world = World::new();
    let mut graph: Graph<Box<dyn Op>> = Graph::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut add = |name: &str, opens| {
        let gate = Arc::clone(&gate);
        let op = Box::new(Gate { opens, gate });
        graph.add(NodeKind::Step, name, vec![], op).expect("one")
    };
    // One place is the first's, who waits for the last.
    let all = [add("a", false), add("b", false), add("c", true)];
    let options = Options { jobs: 2, ..PLAIN };
    let outcome = world.realise(graph, &all, options);
    let outcome = tokio::time::timeout(Duration::from_mins(1), outcome).await;
    let outcome = outcome.expect("the last has its place");
    assert_eq!(outcome.outputs.len(), 3);
    assert_eq!(outcome.statuses[&all[1]], Status::Cached);
}
