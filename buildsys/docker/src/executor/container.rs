//! One container from its making to its removal.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use tbuild_exec::Limits;
use tokio::task::JoinHandle;

use super::{LABEL, config};
use crate::{DockerEngine, DockerError};

/// How often the image is loaded anew when it has gone before it was used.
const TRIES: usize = 5;
/// How long the engine may take to remove a container that has ended.
const REMOVAL: Duration = Duration::from_mins(2);
/// How much is kept of what is said before a step runs, in bytes.
const WORDS: usize = 4096;

/// A container that was started.
pub(super) struct Container {
    engine: DockerEngine,
    id: String,
    gone: Arc<AtomicBool>,
    said: Arc<Mutex<String>>,
    /// Ends when the engine has removed it.
    removed: Mutex<Option<JoinHandle<()>>>,
}

impl Container {
    /// Makes one of `body` and starts it.
    pub(super) async fn start(
        engine: &DockerEngine,
        body: ContainerCreateBody,
    ) -> Result<Self, DockerError> {
        let id = create(engine, body).await?;
        let (gone, said) = (Arc::default(), Arc::default());
        let removed = tokio::spawn(watch(engine.clone(), id.clone(), Arc::clone(&gone)));
        let container = Self {
            engine: engine.clone(),
            id,
            gone,
            said,
            removed: Mutex::new(Some(removed)),
        };
        let started = match container.listen().await {
            Ok(()) => engine.docker().start_container(&container.id, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            container.remove(false).await?;
            return Err(engine.fail("start a container", error));
        }
        Ok(container)
    }

    /// Keeps what is said in it before a step runs: the words of a loader, or of the init.
    async fn listen(&self) -> Result<(), Error> {
        let options = AttachContainerOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let docker = self.engine.docker();
        let mut attached = docker.attach_container(&self.id, Some(options)).await?;
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            while let Some(Ok(piece)) = attached.output.next().await {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.len() < WORDS {
                    said.push_str(&piece.to_string());
                }
            }
        });
        Ok(())
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// What was said in it, or that nothing was.
    pub(super) fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.trim() {
            "" => "it ended without a word".to_owned(),
            said => said.to_owned(),
        }
    }

    /// Sets the limits of a step, now that its init runs.
    pub(super) async fn limit(&self, limits: &Limits) -> Result<(), DockerError> {
        let Some(body) = config::limits(limits) else {
            return Ok(());
        };
        let updated = self.engine.docker().update_container(&self.id, body).await;
        updated.map_err(|error| self.engine.fail("limit a container", error))
    }

    /// Waits until the engine has removed it, which it does when its processes have ended; kills it first if they
    /// may not have.
    pub(super) async fn remove(&self, has_ended: bool) -> Result<(), DockerError> {
        if !has_ended {
            self.engine.remove(&self.id).await?;
        }
        let removed = {
            let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
            removed.take()
        };
        let Some(removed) = removed else {
            return Ok(());
        };
        if tokio::time::timeout(REMOVAL, removed).await.is_err() {
            return self.engine.remove(&self.id).await;
        }
        Ok(())
    }
}

/// Makes a container; loads its image where there is none.
async fn create(engine: &DockerEngine, body: ContainerCreateBody) -> Result<String, DockerError> {
    let mut tries = 0;
    loop {
        match engine.docker().create_container(None, body.clone()).await {
            Ok(made) => return Ok(made.id),
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) if tries < TRIES => engine.load_empty().await?,
            Err(error) => return Err(engine.fail("make a container", error)),
        }
        tries += 1;
    }
}

/// Waits until a container is no more.
async fn watch(engine: DockerEngine, id: String, gone: Arc<AtomicBool>) {
    let mut docker = engine.docker().clone();
    docker.set_timeout(Duration::from_hours(24 * 365));
    let options = WaitContainerOptionsBuilder::default()
        .condition("removed")
        .build();
    // Its status is that of the init, which does not count.
    let _status = docker.wait_container(&id, Some(options)).next().await;
    gone.store(true, Ordering::SeqCst);
}

impl DockerEngine {
    /// Kills a container, if it runs, and removes it, if it is there.
    async fn remove(&self, id: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self.docker().remove_container(id, Some(options)).await {
            // 409: it is being removed.
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(self.fail("remove a container", error)),
        }
    }

    /// Removes containers that were made and never started because their maker was killed.
    pub(super) async fn sweep(&self) -> Result<(), DockerError> {
        let filters = HashMap::from([
            ("label", vec![LABEL]),
            ("status", vec!["created", "exited", "dead"]),
        ]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let listed = self.docker().list_containers(Some(options)).await;
        for container in listed.map_err(|error| self.fail("list containers", error))? {
            let labels = container.labels.unwrap_or_default();
            let (Some(id), Some(owner)) = (container.id, labels.get(LABEL)) else {
                continue;
            };
            if is_dead(owner) {
                self.remove(&id).await?;
            }
        }
        Ok(())
    }
}

/// This process: its pid namespace, its number there, when it was started.
pub(super) fn owner() -> io::Result<String> {
    let id = std::process::id();
    Ok(format!("{}/{id}/{}", namespace()?, begun(id)?))
}

/// Whether an owner is of this pid namespace and no more.
fn is_dead(owner: &str) -> bool {
    let fields: Vec<&str> = owner.split('/').collect();
    let [space, id, time] = fields[..] else {
        return false;
    };
    let Ok(id) = id.parse() else { return false };
    namespace().is_ok_and(|own| own.to_string() == space)
        && begun(id).map_or(true, |begun| begun != time)
}

fn namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}

/// When a process was started: field 22 of its stat (proc(5)).
fn begun(id: u32) -> io::Result<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let time = after.split(' ').nth(19);
    time.map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::{is_dead, owner};

    #[test]
    fn owners_are_told_apart() {
        let own = owner().unwrap();
        assert!(!is_dead(&own), "{own}");
        assert!(is_dead(&format!("{own}0")), "another one had the number");
        assert!(!is_dead(&format!("1{own}")), "one elsewhere cannot be seen");
        assert!(!is_dead("") && !is_dead("what"));
    }
}
