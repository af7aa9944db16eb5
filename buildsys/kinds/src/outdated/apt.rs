//! What the archives of apt's packages offer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tbuild_fetch::{BaseSpec, Fetcher, Http, Quiet, Verifier, Version};
use tbuild_lock::{NetworkLock, RequestLock, packages};
use tbuild_realise::OpError;

use super::Survey;
use crate::World;
use crate::world::{driven, unix_now};

/// Versions by the names of packages.
type Candidates = Arc<BTreeMap<String, Version>>;

/// Archives, each asked once for what it offers.
pub(super) struct Archives {
    fetcher: Fetcher,
    known: Vec<(BaseSpec, Candidates)>,
}

impl Archives {
    pub(super) fn new(world: &World) -> Result<Self, OpError> {
        let http = Http::new(&world.machine.http).map_err(|error| OpError::unreachable(&error))?;
        Ok(Self {
            fetcher: Fetcher {
                http,
                origins: world.machine.origins.clone(),
                store: Arc::clone(&world.store) as Arc<dyn tbuild_store::Store>,
            },
            known: Vec::new(),
        })
    }

    /// Looks at the packages that a step has taken from its archives.
    pub(super) async fn look(
        &mut self,
        lock: &NetworkLock,
        step: &str,
        file: &str,
        survey: &mut Survey,
    ) -> Result<(), OpError> {
        let requests = lock.of_step(step).unwrap_or_default();
        for distribution in ["debian", "ubuntu"] {
            let is_of = |request: &&RequestLock| {
                let rest = request.origin.strip_prefix(distribution);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            let asked: Vec<&RequestLock> = requests.iter().copied().filter(is_of).collect();
            let taken = packages(asked.iter().copied());
            if taken.is_empty() {
                continue;
            }
            // A step may take packages by the lists that one before it has left.
            let spec = spec(distribution, &asked).or_else(|| {
                spec(
                    distribution,
                    &lock.requests.iter().filter(is_of).collect::<Vec<_>>(),
                )
            });
            let Some(spec) = spec else {
                let what =
                    format!("packages of {distribution} in {file}: no index of theirs is locked");
                survey.unknown.insert(what);
                continue;
            };
            let candidates = self.candidates(spec).await?;
            for package in taken {
                match candidates.get(&package.name) {
                    Some(newest) if *newest > Version::new(package.version.as_str()) => {
                        survey.put(file, &package, newest.to_string());
                    }
                    Some(_) => {}
                    None => {
                        let what =
                            format!("{} of apt: its archive has no such package", package.name);
                        survey.unknown.insert(what);
                    }
                }
            }
        }
        Ok(())
    }

    async fn candidates(&mut self, spec: BaseSpec) -> Result<Candidates, OpError> {
        if let Some((_, known)) = self.known.iter().find(|(known, _)| *known == spec) {
            return Ok(Arc::clone(known));
        }
        let verifier = Verifier {
            gpgv: PathBuf::from("gpgv"),
            keyring: PathBuf::from(format!(
                "/usr/share/keyrings/{}-archive-keyring.gpg",
                spec.distribution
            )),
        };
        let (fetcher, of) = (self.fetcher.clone(), spec.clone());
        let found = driven(move |handle| {
            let found = fetcher.candidates(&of, &verifier, unix_now(), &Quiet);
            handle
                .block_on(found)
                .map_err(|error| crate::base::failure(&error))
        })
        .await?;
        let found = Arc::new(found);
        self.known.push((spec, Arc::clone(&found)));
        Ok(found)
    }
}

/// The suites, components and architecture of the indexes that were asked for:
/// `dists/bookworm/main/binary-amd64/Packages`.
fn spec(distribution: &str, asked: &[&RequestLock]) -> Option<BaseSpec> {
    let (mut suites, mut components) = (BTreeSet::new(), BTreeSet::new());
    let mut architecture = None;
    for request in asked {
        let Some((_, path)) = request.path.split_once("dists/") else {
            continue;
        };
        let Some((start, rest)) = path.split_once("/binary-") else {
            continue;
        };
        let (suite, component) = start.split_once('/')?;
        let (binary, _) = rest.split_once('/')?;
        if binary == "all" {
            continue;
        }
        suites.insert(suite.to_owned());
        components.insert(component.to_owned());
        architecture = Some(binary.to_owned());
    }
    let suite = suites.pop_first()?;
    Some(BaseSpec {
        distribution: distribution.to_owned(),
        suite,
        extra_suites: suites.into_iter().collect(),
        components: components.into_iter().collect(),
        include: Vec::new(),
        architecture: architecture?,
    })
}
