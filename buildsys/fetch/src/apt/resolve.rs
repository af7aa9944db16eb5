//! Which packages a base holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::AptError;
use super::packages::{Package, Universe, satisfies};
use super::relation::{Relation, show};

/// Packages that make themselves superfluous here: where one of them is an alternative it is chosen, because
/// tbuild merges /usr itself before anything is unpacked and needs no program to convert it.
const PREFERRED: [&str; 1] = ["usr-is-merged"];

/// The packages chosen, by name; true for those that must be there before apt can run.
pub type Selection<'a> = BTreeMap<&'a str, (&'a Package, bool)>;

/// Chooses: essential and required packages, apt, and what they need; then `include` and what that needs.
/// `suites` names in errors what was searched.
pub fn resolve<'a>(
    universe: &'a Universe,
    suites: &str,
    include: &[String],
) -> Result<Selection<'a>, AptError> {
    let mut resolver = Resolver {
        universe,
        suites,
        chosen: BTreeMap::new(),
        queue: VecDeque::new(),
        bootstrap: true,
    };
    for package in universe
        .iter()
        .filter(|package| package.essential || package.required)
    {
        resolver.choose(package);
    }
    resolver.name("apt", "a base")?;
    resolver.close()?;
    resolver.bootstrap = false;
    for name in include {
        resolver.name(name, "the base's include list")?;
    }
    resolver.close()?;
    resolver.check_conflicts()?;
    Ok(resolver.chosen)
}

struct Resolver<'a, 'b> {
    universe: &'a Universe,
    suites: &'b str,
    chosen: Selection<'a>,
    queue: VecDeque<&'a Package>,
    bootstrap: bool,
}

impl<'a> Resolver<'a, '_> {
    fn choose(&mut self, package: &'a Package) {
        if !self.chosen.contains_key(package.name.as_str()) {
            self.chosen.insert(&package.name, (package, self.bootstrap));
            self.queue.push_back(package);
        }
    }

    fn name(&mut self, name: &str, because: &str) -> Result<(), AptError> {
        self.satisfy(&[Relation::any(name)], because)
    }

    /// Chooses until nothing chosen needs anything else.
    fn close(&mut self) -> Result<(), AptError> {
        while let Some(package) = self.queue.pop_front() {
            let depends = package.depends().map_err(|part| odd(package, &part))?;
            for alternatives in depends {
                self.satisfy(&alternatives, &package.name)?;
            }
        }
        Ok(())
    }

    /// Takes what is chosen already, else the preferred, else the first that can be had.
    fn satisfy(&mut self, alternatives: &[Relation], because: &str) -> Result<(), AptError> {
        let universe = self.universe;
        let candidates: Vec<&'a Package> = alternatives
            .iter()
            .flat_map(|relation| universe.satisfying(relation))
            .collect();
        let chosen = candidates
            .iter()
            .any(|package| self.chosen.contains_key(package.name.as_str()));
        if chosen {
            return Ok(());
        }
        let preferred = candidates
            .iter()
            .find(|package| PREFERRED.contains(&package.name.as_str()));
        let Some(package) = preferred.or_else(|| candidates.first()) else {
            return Err(AptError::Unsatisfied {
                suites: self.suites.to_owned(),
                relation: show(alternatives),
                because: because.to_owned(),
            });
        };
        self.choose(package);
        Ok(())
    }

    fn check_conflicts(&self) -> Result<(), AptError> {
        let mut by_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (package, _) in self.chosen.values() {
            by_name
                .entry(&package.name)
                .or_default()
                .insert(&package.name);
            for provided in &package.provides {
                by_name
                    .entry(&provided.name)
                    .or_default()
                    .insert(&package.name);
            }
        }
        for (package, _) in self.chosen.values() {
            for relation in package
                .conflicts()
                .map_err(|part| odd(package, &part))?
                .iter()
                .flatten()
            {
                let others = by_name.get(relation.name.as_str()).into_iter().flatten();
                let enemy = others
                    .filter_map(|name| self.chosen.get(name))
                    // A package may conflict with what it provides itself: then it means all others.
                    .find(|(other, _)| other.name != package.name && satisfies(other, relation));
                if let Some((other, _)) = enemy {
                    return Err(AptError::Conflict {
                        package: format!("{} ({})", package.name, package.version),
                        other: format!("{} ({})", other.name, other.version),
                    });
                }
            }
        }
        Ok(())
    }
}

fn odd(package: &Package, part: &str) -> AptError {
    AptError::malformed(
        &package.origin,
        format!("{} has the odd relation {part:?}", package.name),
    )
}
