use std::collections::BTreeMap;

use proptest::prelude::*;
use tbuild_digest::TreeDigest;

use super::*;

fn names<T>(graph: &Graph<T>, ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|id| graph.get(*id).name.clone()).collect()
}

#[test]
fn closure_is_in_dependency_order_and_leaves_the_rest_out() {
    let mut graph = Graph::new();
    let a = graph.add(NodeKind::Source, "a", vec![], ()).unwrap();
    let b = graph.add(NodeKind::Step, "b", vec![a], ()).unwrap();
    let c = graph.add(NodeKind::Step, "c", vec![a, b], ()).unwrap();
    graph.add(NodeKind::Step, "unused", vec![c], ()).unwrap();
    let order = graph.closure(&[c, b]).unwrap();
    assert_eq!(names(&graph, &order), ["a", "b", "c"]);
}

#[test]
fn a_cycle_is_named() {
    let mut graph = Graph::new();
    let a = graph
        .add(NodeKind::Release, "release:a", vec![], ())
        .unwrap();
    let b = graph.add(NodeKind::Task, "task:b", vec![a], ()).unwrap();
    graph.order(a, b);
    let error = graph.closure(&[b]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nodes depend on each other: task:b -> release:a -> task:b"
    );
}

#[test]
fn the_longest_way_runs_first() {
    let mut graph = Graph::new();
    let short = graph.add(NodeKind::Step, "short", vec![], 1).unwrap();
    let long = graph.add(NodeKind::Step, "long", vec![], 1).unwrap();
    let middle = graph.add(NodeKind::Step, "middle", vec![long], 5).unwrap();
    let end = graph
        .add(NodeKind::Step, "end", vec![short, middle], 1)
        .unwrap();
    let order = graph.closure(&[end]).unwrap();
    let priorities = graph.priorities(&order, |id| graph.get(id).payload);
    assert_eq!(priorities[end.index()], 1);
    assert_eq!(priorities[middle.index()], 6);
    assert_eq!(priorities[long.index()], 7);
    assert_eq!(priorities[short.index()], 2);
}

fn any_manifest() -> impl Strategy<Value = KeyManifest> {
    let text = prop::sample::select(vec!["", "a", "b"]);
    let value = prop_oneof![
        text.clone().prop_map(|text| Value::Text(text.to_owned())),
        prop::collection::vec(text.clone(), 0..3)
            .prop_map(|list| Value::List(list.into_iter().map(str::to_owned).collect())),
        prop::collection::btree_map(text.clone(), text.clone(), 0..3).prop_map(|map| Value::Map(
            map.into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>()
        )),
        text.prop_map(|digest| Value::Files(TreeDigest::of(digest.as_bytes()))),
    ];
    let field = (prop::sample::select(vec!["f", "g"]), value).prop_map(|(name, value)| Field {
        name: name.to_owned(),
        value,
    });
    (
        prop::sample::select(vec!["s/1", "s/2"]),
        prop::collection::vec(field, 0..3),
    )
        .prop_map(|(schema, fields)| KeyManifest {
            schema: schema.to_owned(),
            fields,
        })
}

proptest! {
    #[test]
    fn what_is_explained_is_what_is_hashed(a in any_manifest(), b in any_manifest()) {
        prop_assert_eq!(a.key() == b.key(), explain(&a, &b).is_empty());
        prop_assert_eq!(a == b, a.key() == b.key());
    }

    #[test]
    fn manifests_survive_their_record(a in any_manifest()) {
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<KeyManifest>(&text).unwrap(), a);
    }
}
