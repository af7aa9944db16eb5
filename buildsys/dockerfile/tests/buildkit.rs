//! Dockerfiles and what BuildKit made of them, recorded: this front end makes the same of them.

mod facts;

use facts::{Case, Facts, facts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    #[serde(flatten)]
    case: Case,
    expect: Facts,
}

#[test]
fn it_reads_dockerfiles_as_buildkit_does() {
    let recorded: Vec<Recorded> =
        serde_json::from_str(include_str!("buildkit.json")).expect("recorded facts");
    assert!(recorded.len() > 600, "{} cases", recorded.len());
    let differences: Vec<String> = recorded
        .iter()
        .filter_map(|recorded| {
            let found = facts(&recorded.case);
            (found != recorded.expect).then(|| {
                format!(
                    "{}: {:?}\n  BuildKit {:?}\n  here     {found:?}",
                    recorded.case.name, recorded.case.text, recorded.expect
                )
            })
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
