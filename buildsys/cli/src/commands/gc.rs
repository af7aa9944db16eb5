//! `tbuild gc`: makes room in the store.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tbuild_dockerfile::{parse_duration, parse_size};
use tbuild_exec::Cancel;
use tbuild_kinds::{CACHES, HINTS, MEMORIES, ROOTS};
use tbuild_store_local::{Collected, Policy, Stage};

use crate::args::{Global, Progress};
use crate::engine::{listen, open_store};
use crate::error::CliError;
use crate::output::{json, line};
use crate::report::{bytes, eprint};

const DAY: u64 = 24 * 3600;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep what was used within this time: 14d, 12h
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = time)]
    keep_for: Duration,
    /// Of that, keep so much on the disk at most, what was used last: 20GB, 500MB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
}

fn time(text: &str) -> Result<Duration, String> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u64>().ok())
        .and_then(|days| days.checked_mul(DAY));
    days.map(Duration::from_secs)
        .or_else(|| parse_duration(text).map(Duration::from_nanos))
        .ok_or_else(|| "a time is expected, such as 14d or 12h".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "a size is expected, such as 20GB or 500MB".to_owned())
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let store = open_store(global)?;
    let cancel = Cancel::new();
    listen(&cancel);
    let used_since = SystemTime::now()
        .checked_sub(arguments.keep_for)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let silent = matches!(global.progress, Progress::Quiet | Progress::Json);
    let (most, dry_run) = (arguments.max_size, global.dry_run);
    let collected = tokio::task::spawn_blocking(move || {
        let policy = Policy {
            used_since,
            most,
            roots: &ROOTS,
            memories: &MEMORIES,
            hints: &HINTS,
            caches: &CACHES,
        };
        let mut told = false;
        let mut parts = 0;
        store.collect(&policy, dry_run, &mut |stage| {
            match stage {
                _ if silent => {}
                Stage::Waiting if !told => {
                    told = true;
                    eprint("waiting for another tbuild, which uses the store\n");
                }
                Stage::Removing(done, all) if done * 10 / all > parts => {
                    parts = done * 10 / all;
                    eprint(&format!("{done} of {all} folders removed\n"));
                }
                _ => {}
            }
            !cancel.is_cancelled()
        })
    });
    let collected = collected
        .await
        .map_err(|error| CliError::internal(&error))??;
    let Some(collected) = collected else {
        return Err(CliError {
            message: "cancelled".to_owned(),
            hints: Vec::new(),
            code: 130,
            rendered: false,
        });
    };
    tell(global, arguments, &collected);
    Ok(0)
}

fn tell(global: &Global, arguments: &Arguments, collected: &Collected) {
    let parts = [
        ("blobs", collected.blobs),
        ("snapshots", collected.snapshots),
        ("action results", collected.actions),
        ("references", collected.references),
        ("caches", collected.caches),
        ("quarantine", collected.quarantine),
    ];
    if global.json {
        let parts: BTreeMap<&str, [u64; 2]> = parts
            .into_iter()
            .map(|(name, part)| (name, [part.count, part.bytes]))
            .collect();
        json(&serde_json::json!({
            "freed": collected.bytes(),
            "dry_run": global.dry_run,
            "parts": parts,
        }));
        return;
    }
    for (name, part) in parts {
        if part.count > 0 {
            line(format!("{:>10}  {} {name}", bytes(part.bytes), part.count));
        }
    }
    let word = if global.dry_run {
        "would be freed"
    } else {
        "freed"
    };
    line(format!("{:>10}  {word}", bytes(collected.bytes())));
    if let (Some(most), Some(rooted)) = (arguments.max_size, collected.rooted)
        && rooted > most
    {
        eprint(&format!(
            "warning: what is deployed or tagged takes {} alone, and is kept; `tbuild clean` takes a release away\n",
            bytes(rooted)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_days() {
        assert_eq!(time("14d"), Ok(Duration::from_secs(14 * DAY)));
        assert_eq!(time("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        for wrong in ["", "d", "-1d", "1.5d", "14", "99999999999999999999d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
