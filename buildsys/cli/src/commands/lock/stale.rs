//! Steps that are locked and that no image has any more.

use std::collections::BTreeSet;

use tbuild_kinds::{LockedSteps, prune, stale};
use tbuild_lock::StepLock;

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// The steps that images and artifacts have in their locks: with the profiles that were asked for, with none, and with
/// each of the others, since images of several profiles may share a lock.
fn current(engine: &Engine) -> LockedSteps {
    let mut steps = engine.pipeline().locked_steps();
    let mut failed = None;
    let none = Vec::new();
    let each = engine.project.config.profiles.iter();
    let each = each.map(|profile| vec![profile.clone()]);
    for profile in std::iter::once(none).chain(each) {
        if profile == engine.global.profile {
            continue;
        }
        let global = Global {
            profile: profile.clone(),
            ..engine.global.clone()
        };
        match Project::load(&global) {
            Ok(project) => steps.add(engine.pipeline_of(&project.config).locked_steps()),
            // Which locks that one has nobody can tell.
            Err(error) => {
                let profile = profile.join(" ");
                failed = Some(format!("--profile {profile}: {}", error.message));
            }
        }
    }
    if let Some(why) = failed {
        let all = steps.ids.keys().cloned().collect::<Vec<_>>();
        let unsure = all.into_iter().map(|lock| (lock, why.clone()));
        steps.unsure.extend(unsure);
    }
    steps
}

fn told(lock: &str, step: &StepLock) -> String {
    format!("{} of lockfiles' {lock}", step.text)
}

/// Shows the steps of these locks, of all if there are none, that no image has any more.
pub(super) fn show(engine: &Engine, locks: &BTreeSet<String>) -> Result<(), CliError> {
    let steps = current(engine);
    for (lock, ids) in &steps.ids {
        if !locks.contains(lock) || steps.unsure.contains_key(lock) {
            continue;
        }
        for step in stale(&engine.world, lock, ids)? {
            if engine.global.json {
                let event = serde_json::json!({"event": "stale", "lock": lock, "step": step.id, "text": step.text});
                crate::output::line(event);
                continue;
            }
            engine.say(&format!(
                "stale: {}: no image has this step any more",
                told(lock, &step)
            ));
        }
    }
    Ok(())
}

/// Takes such steps out of these locks, where all their steps can be told.
pub(super) fn take_out(engine: &Engine, locks: &BTreeSet<String>) -> Result<(), CliError> {
    if locks.is_empty() {
        return Ok(());
    }
    let steps = current(engine);
    for (lock, ids) in &steps.ids {
        if !locks.contains(lock) {
            continue;
        }
        if let Some(why) = steps.unsure.get(lock) {
            if !stale(&engine.world, lock, ids)?.is_empty() {
                engine.say(&format!(
                    "lockfiles' {lock} may have steps that no image has any more: {why}"
                ));
            }
            continue;
        }
        for step in prune(&engine.world, lock, ids)? {
            engine.say(&format!(
                "taken out: {}: no image has this step any more",
                told(lock, &step)
            ));
        }
    }
    Ok(())
}
