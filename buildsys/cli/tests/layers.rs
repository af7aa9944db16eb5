//! The layers of ARCHITECTURE.md hold: every edge between the workspace's crates is in its table.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// One row of the table.
struct Row {
    layer: u32,
    may_use: Option<BTreeSet<String>>,
}

fn table() -> BTreeMap<String, Row> {
    let text = include_str!("../../ARCHITECTURE.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, name, _, may_use] = cells[..] else {
            continue;
        };
        let Ok(layer) = layer.parse() else { continue };
        let may_use = (may_use != "all of the above").then(|| {
            may_use
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect()
        });
        rows.insert(name.to_owned(), Row { layer, may_use });
    }
    rows
}

#[test]
fn every_edge_is_in_the_table() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let rows = table();
    let short = |name: &str| name.strip_prefix("tbuild-").map(str::to_owned);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let name = short(package.name.as_str()).expect("packages are called tbuild-*");
        let Some(row) = rows.get(&name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        seen.insert(name.clone());
        for dependency in &package.dependencies {
            let Some(used) = short(&dependency.name) else {
                continue;
            };
            // Tests may reach for an implementation to test a trait with.
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            let lower = rows.get(&used).is_some_and(|other| other.layer < row.layer);
            let listed = row
                .may_use
                .as_ref()
                .map_or(lower, |may_use| may_use.contains(&used));
            if !listed {
                wrong.push(format!("{name} uses {used}, which is not in its row"));
            }
        }
    }
    for name in rows.keys().filter(|name| !seen.contains(*name)) {
        wrong.push(format!("{name} is in the table but no crate"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_table_row_never_points_up() {
    let rows = table();
    assert!(rows.len() > 10, "the table was read");
    for (name, row) in &rows {
        for used in row.may_use.iter().flatten() {
            let other = rows
                .get(used)
                .unwrap_or_else(|| panic!("{name} may use {used}, which has no row"));
            assert!(other.layer <= row.layer, "{name} points up to {used}");
        }
    }
}

/// Outside crates that may appear in one crate of the workspace only.
#[test]
fn outside_worlds_have_one_door() {
    let doors = [
        ("bollard", "docker"),
        ("axum", "registry"),
        ("kube", "kube"),
        ("seccompiler", "sandbox"),
    ];
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            if let Some((_, door)) = doors
                .iter()
                .find(|(outside, _)| *outside == dependency.name)
            {
                assert_eq!(
                    package.name.as_str(),
                    format!("tbuild-{door}"),
                    "{} is used elsewhere",
                    dependency.name
                );
            }
        }
    }
}
