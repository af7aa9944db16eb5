//! From a suite's name to the list of package files that make a base.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::Arc;

use tbuild_digest::BlobDigest;
use tbuild_lock::{ArchivePath, BaseLock, Day, PackageLock, ReleaseLock};
use tbuild_store::{Store, StoreError};

use super::packages::{Universe, decompress};
use super::release::Release;
use super::resolve::resolve;
use super::suite::suite_origin;
use super::{AptError, Verifier, Version};
use crate::{Download, Http, Origins, Progress};

/// A base as a configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSpec {
    /// The distribution: an origin's name, `debian` or `ubuntu`.
    pub distribution: String,
    /// The suite (`bookworm`).
    pub suite: String,
    /// Suites read besides (`bookworm-updates`, `bookworm-security`).
    pub extra_suites: Vec<String>,
    /// Components (`main`).
    pub components: Vec<String>,
    /// Packages besides the essential ones, the required ones and apt.
    pub include: Vec<String>,
    /// The distribution's name of the architecture (`amd64`, `arm64`).
    pub architecture: String,
}

impl BaseSpec {
    /// Debian's name of an OCI architecture, with its variant if it has one.
    pub fn debian_architecture(oci: &str, variant: Option<&str>) -> Option<&'static str> {
        Some(match (oci, variant) {
            ("amd64", _) => "amd64",
            ("arm64", _) => "arm64",
            ("386", _) => "i386",
            ("arm", Some("v5")) => "armel",
            ("arm", _) => "armhf",
            ("ppc64le", _) => "ppc64el",
            ("s390x", _) => "s390x",
            ("riscv64", _) => "riscv64",
            _ => return None,
        })
    }

    /// All suites, the base's own first.
    pub fn suites(&self) -> Vec<String> {
        std::iter::once(&self.suite)
            .chain(&self.extra_suites)
            .cloned()
            .collect()
    }
}

/// No InRelease file is larger; Debian's have 150 kB.
const LARGEST_RELEASE: u64 = 16 << 20;

/// What fetching needs: connections, hosts, and where things are kept.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// The HTTP client.
    pub http: Http,
    /// Who serves which origin.
    pub origins: Origins,
    /// Where blobs go.
    pub store: Arc<dyn Store>,
}

impl Fetcher {
    /// Resolves a base from the signed Release files down: each InRelease verified by `verifier`, each index by
    /// the digest that its release states. `now` is seconds since the epoch, for Valid-Until and the lock's day. The packages
    /// themselves are not fetched.
    pub async fn resolve_base(
        &self,
        spec: &BaseSpec,
        verifier: &Verifier,
        now: u64,
        progress: &dyn Progress,
    ) -> Result<BaseLock, AptError> {
        let (universe, releases) = self.universe(spec, verifier, now, progress).await?;
        let selection = resolve(&universe, &spec.suites().join(", "), &spec.include)?;
        let packages = selection.values().map(|(package, bootstrap)| PackageLock {
            name: package.name.clone(),
            version: package.version.to_string(),
            architecture: package.architecture.clone(),
            bootstrap: *bootstrap,
            origin: package.origin.clone(),
            path: package.path.clone(),
            size: package.size,
            sha256: package.sha256,
        });
        Ok(BaseLock {
            origin: spec.distribution.clone(),
            suite: spec.suite.clone(),
            extra_suites: spec.extra_suites.clone(),
            components: spec.components.clone(),
            include: spec.include.clone(),
            architecture: spec.architecture.clone(),
            when: Some(Day::of_unix(now)),
            releases,
            packages: packages.collect(),
        })
    }

    /// The versions that apt would take of every package of these suites, verified likewise: as they stand in the names
    /// of package files, which have no epoch.
    pub async fn candidates(
        &self,
        spec: &BaseSpec,
        verifier: &Verifier,
        now: u64,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Version>, AptError> {
        let (universe, _) = self.universe(spec, verifier, now, progress).await?;
        let versions = universe.iter().map(|package| {
            let version = package.version.as_str();
            let version = version.split_once(':').map_or(version, |(_, rest)| rest);
            (package.name.clone(), Version::new(version))
        });
        Ok(versions.collect())
    }

    /// What the suites of a base offer, and the releases that say so.
    async fn universe(
        &self,
        spec: &BaseSpec,
        verifier: &Verifier,
        now: u64,
        progress: &dyn Progress,
    ) -> Result<(Universe, Vec<ReleaseLock>), AptError> {
        let mut universe = Universe::default();
        let mut releases = Vec::new();
        for suite in spec.suites() {
            let origin = suite_origin(&spec.distribution, &suite);
            let (lock, release) = self.release(&origin, &suite, verifier, now).await?;
            for component in &spec.components {
                let (path, digest) = self
                    .index(spec, &origin, &suite, component, &release, progress)
                    .await?;
                let (store, suite, origin) =
                    (Arc::clone(&self.store), suite.clone(), origin.clone());
                let (architecture, priority) = (spec.architecture.clone(), release.priority);
                // Tens of megabytes are unpacked and parsed: not on a thread that drives connections.
                universe = blocking(move || {
                    let blob = store
                        .open_blob(&digest)?
                        .ok_or(StoreError::Corrupt(digest))?;
                    let index = decompress(&path, BufReader::with_capacity(1 << 16, blob));
                    universe.add(&suite, &origin, priority, &architecture, index)?;
                    Ok(universe)
                })
                .await?;
            }
            releases.push(lock);
        }
        universe.finish();
        Ok((universe, releases))
    }

    /// Brings every package of a lock into the store, as blobs of their SHA-256.
    pub async fn fetch_base(
        &self,
        lock: &BaseLock,
        progress: &dyn Progress,
    ) -> Result<(), AptError> {
        let download = |package: &PackageLock| -> Result<Download, AptError> {
            Ok(Download {
                name: package.path.file_name().to_owned(),
                urls: self.origins.locate(&package.origin, &package.path)?,
                sha256: Some(package.sha256),
                size: Some(package.size),
            })
        };
        let mut missing = Vec::new();
        for package in &lock.packages {
            // A store that holds everything needs no origin.
            if self.store.blob_size(&package.sha256)?.is_none() {
                missing.push(download(package)?);
            }
        }
        let done = self
            .http
            .download_all(&missing, &self.store, progress)
            .await;
        done.map_err(|source| AptError::Http {
            suite: lock.suite.clone(),
            source,
        })?;
        Ok(())
    }

    async fn release(
        &self,
        origin: &str,
        suite: &str,
        verifier: &Verifier,
        now: u64,
    ) -> Result<(ReleaseLock, Release), AptError> {
        let path = archive_path(suite, &format!("dists/{suite}/InRelease"))?;
        let urls = self.origins.locate(origin, &path)?;
        let document = self.http.document(&urls, LARGEST_RELEASE).await;
        let document = document.map_err(|source| AptError::Http {
            suite: suite.to_owned(),
            source,
        })?;
        let (verifier, name) = (verifier.clone(), suite.to_owned());
        let (release, sha256) = blocking(move || {
            let text = verifier.verify(&name, &document)?;
            Ok((
                Release::parse(&name, &text, now)?,
                BlobDigest::of(&document),
            ))
        })
        .await?;
        let lock = ReleaseLock {
            suite: suite.to_owned(),
            origin: origin.to_owned(),
            path,
            date: release.date.clone(),
            sha256,
        };
        Ok((lock, release))
    }

    /// Brings a package index into the store; by digest where the archive offers it, so that an archive being
    /// updated cannot mix two states.
    async fn index(
        &self,
        spec: &BaseSpec,
        origin: &str,
        suite: &str,
        component: &str,
        release: &Release,
        progress: &dyn Progress,
    ) -> Result<(String, BlobDigest), AptError> {
        let architecture = &spec.architecture;
        let (path, digest, size) = release.index(component, architecture).ok_or_else(|| {
            AptError::malformed(
                suite,
                format!("it has no component {component} for {architecture}"),
            )
        })?;
        let plain = format!("dists/{suite}/{path}");
        let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
        let hashed = format!("{folder}/by-hash/SHA256/{}", digest.hex());
        let mut urls = Vec::new();
        for path in [Some(hashed).filter(|_| release.by_hash), Some(plain)]
            .into_iter()
            .flatten()
        {
            urls.extend(self.origins.locate(origin, &archive_path(suite, &path)?)?);
        }
        let name = format!("{suite} {component} {architecture} packages");
        let download = Download {
            name,
            urls,
            sha256: Some(digest),
            size: Some(size),
        };
        let done = self.http.download(&download, &self.store, progress).await;
        done.map_err(|source| AptError::Http {
            suite: suite.to_owned(),
            source,
        })?;
        Ok((path, digest))
    }
}

fn archive_path(suite: &str, path: &str) -> Result<ArchivePath, AptError> {
    path.parse().map_err(|source| AptError::Path {
        suite: suite.to_owned(),
        source,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AptError> + Send + 'static,
) -> Result<T, AptError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AptError::io("resolve a base", std::io::Error::other(error))),
    }
}
