//! The pods that files are put into, and the agents that run in them, kept from one push to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use tbuild_kube::PodView;
use tbuild_realise::OpError;

use super::DevPushed;
use super::agent::{Agent, Job};
use crate::World;
use crate::deploy::kube_failure;

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name of the component.
    pub component: String,
    /// Name of the push.
    pub name: String,
    pub namespace: String,
    /// Which pods.
    pub selector: String,
    /// One of them is enough.
    pub one: bool,
}

/// Connections into pods, and who is told what was done over them.
pub struct DevPods {
    /// By component, push and pod.
    agents: Mutex<HashMap<[String; 3], Agent>>,
    told: Box<dyn Fn(&DevPushed) + Send + Sync>,
}

impl DevPods {
    /// No connections yet. `told` hears of each pod at once.
    pub fn new(told: impl Fn(&DevPushed) + Send + Sync + 'static) -> Self {
        Self {
            agents: Mutex::default(),
            told: Box::new(told),
        }
    }

    pub(super) fn tell(&self, done: &DevPushed) {
        (self.told)(done);
    }

    pub(super) fn keep(&self, target: &Target, agent: Agent) {
        let key = key(target, &agent.pod);
        if let Ok(mut agents) = self.agents.lock() {
            agents.insert(key, agent);
        }
    }

    fn take(&self, target: &Target, pod: &str) -> Option<Agent> {
        let mut agents = self.agents.lock().ok()?;
        agents.remove(&key(target, pod)).filter(Agent::is_alive)
    }

    fn has(&self, target: &Target, pod: &str) -> bool {
        let agents = self.agents.lock();
        agents.is_ok_and(|agents| {
            let agent = agents.get(&key(target, pod));
            agent.is_some_and(Agent::is_alive)
        })
    }
}

fn key(target: &Target, pod: &str) -> [String; 3] {
    [&target.component, &target.name, pod].map(str::to_owned)
}

/// The pods to use, of all that there are, oldest first: those that run. Where one is enough, one that is known, or
/// that serves, or that is new.
fn chosen(pods: Vec<PodView>, one: bool, known: impl Fn(&str) -> bool) -> Vec<PodView> {
    let mut running: Vec<PodView> = pods
        .into_iter()
        .rev()
        .filter(|pod| pod.phase == "Running")
        .collect();
    running.sort_by_key(|pod| (one && !known(&pod.name), !pod.ready));
    if one {
        running.truncate(1);
    }
    running
}

/// An agent in each pod of the target.
pub(super) async fn agents(
    world: Arc<World>,
    pods: Arc<DevPods>,
    target: Target,
    job: Job,
) -> Result<Vec<Agent>, OpError> {
    let cluster = world.cluster().await?;
    let all = cluster
        .pods(&target.namespace, &target.selector)
        .await
        .map_err(|error| kube_failure(&error))?;
    let running = chosen(all, target.one, |pod| pods.has(&target, pod));
    if running.is_empty() {
        return Err(OpError::failed_text(format!(
            "no pod of {} runs in {}",
            target.component, target.namespace
        ))
        .hint("tbuild status says what is wrong"));
    }
    let started = running.iter().map(|pod| async {
        match pods.take(&target, &pod.name) {
            Some(agent) => Ok(agent),
            None => Agent::start(cluster, &target.namespace, &pod.name, &job).await,
        }
    });
    join_all(started).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str, ready: bool) -> PodView {
        PodView {
            name: name.to_owned(),
            phase: phase.to_owned(),
            ready,
            node: None,
            address: None,
            created: None,
            containers: Vec::new(),
            trouble: None,
        }
    }

    fn names(one: bool, known: &str) -> Vec<String> {
        let pods = vec![
            pod("old", "Running", true),
            pod("new", "Running", true),
            pod("starting", "Running", false),
            pod("waiting", "Pending", false),
            pod("going", "Terminating", false),
        ];
        let chosen = chosen(pods, one, |pod| pod == known);
        chosen.into_iter().map(|pod| pod.name).collect()
    }

    #[test]
    fn pods_that_run_get_files_those_that_serve_first() {
        assert_eq!(names(false, ""), ["new", "old", "starting"]);
        assert_eq!(names(true, ""), ["new"]);
    }

    #[test]
    fn where_one_is_enough_the_one_that_is_known_stays() {
        assert_eq!(names(true, "old"), ["old"]);
        assert_eq!(names(true, "waiting"), ["new"]);
    }
}
