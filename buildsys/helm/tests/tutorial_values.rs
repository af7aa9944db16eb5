//! The keys of the values files of Tator's deployment tutorials: each works, or is refused with what to use instead.
//! Needs TBUILD_TEST_HELM.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::collections::HashMap;

use common::tator::{Chart, chart, everything, merged};
use serde_json::{Value, json};

/// One line of tutorial_values.tsv.
struct Case {
    key: String,
    value: Value,
    outcome: String,
    with: Value,
}

fn cases() -> Vec<Case> {
    include_str!("tutorial_values.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Case {
                key: fields[0].to_owned(),
                value: serde_json::from_str(fields[1]).unwrap(),
                outcome: fields[2].to_owned(),
                with: serde_json::from_str(fields.get(3).unwrap_or(&"{}")).unwrap(),
            }
        })
        .collect()
}

/// `a.b` and a value as values.
fn nested(key: &str, value: &Value) -> Value {
    key.rsplit('.')
        .fold(value.clone(), |inner, part| json!({part: inner}))
}

/// A site with everything, as the tutorials have it.
fn site(chart: &Chart, with: &Value) -> Value {
    merged(&merged(&chart.values, &everything()), with)
}

#[test]
fn each_is_accepted_or_says_what_to_use() {
    let chart = chart();
    let cases = cases();
    assert!(cases.len() > 160);
    for case in &cases {
        let values = merged(&site(&chart, &case.with), &nested(&case.key, &case.value));
        let problems = chart.problems(&values);
        if ["works", "off"].contains(&case.outcome.as_str()) {
            assert_eq!(problems, [] as [String; 0], "{}", case.key);
            continue;
        }
        let said = problems.iter().find(|one| one.contains(&case.outcome));
        let said = said.unwrap_or_else(|| panic!("{}: {problems:?}", case.key));
        let place = said.split(": ").next().unwrap();
        assert!(case.key.starts_with(place), "{}: {said}", case.key);
    }
}

/// A whole file is told of at once.
#[test]
fn all_that_is_gone_is_told_together() {
    let chart = chart();
    let mut values = chart.values.clone();
    let mut gone = 0;
    for case in cases()
        .iter()
        .filter(|case| case.outcome.starts_with("gone: "))
    {
        values = merged(&values, &nested(&case.key, &case.value));
        gone += 1;
    }
    assert!(gone > 60, "{gone}");
    let problems = chart.problems(&values);
    for case in cases()
        .iter()
        .filter(|case| case.outcome.starts_with("gone: "))
    {
        let told = problems.iter().any(|one| one.contains(&case.outcome));
        assert!(told, "{}: {problems:?}", case.key);
    }
}

/// What works makes a difference to what is installed; what is off makes none.
#[tokio::test]
async fn what_works_counts() {
    let chart = chart();
    let mut seen = HashMap::new();
    let mut wrong = Vec::new();
    for case in cases() {
        if !["works", "off"].contains(&case.outcome.as_str()) {
            continue;
        }
        let values = site(&chart, &case.with);
        let with = case.with.to_string();
        if !seen.contains_key(&with) {
            seen.insert(with.clone(), rendered(&chart, &values).await);
        }
        let after = merged(&values, &nested(&case.key, &case.value));
        let counts = rendered(&chart, &after).await != seen[&with];
        if counts != (case.outcome == "works") {
            wrong.push(case.key);
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

async fn rendered(chart: &Chart, values: &Value) -> Vec<Value> {
    chart
        .helm
        .template("tator", &chart.path, "tator", values, &[])
        .await
        .unwrap()
}
