//! What is wrong with a pod, read off its status alone.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

/// Restarts after which a crash is taken to be no passing one.
const RESTARTS: i32 = 3;

/// Something that keeps a pod from running.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trouble {
    /// The container; none when it is the pod that cannot start.
    pub container: Option<String>,
    /// Kubernetes' word: `CrashLoopBackOff`, `ImagePullBackOff`, `ErrImagePull`, `CreateContainerConfigError`,
    /// `Unschedulable`, `OOMKilled`, `Error`, ...
    pub reason: String,
    /// What is said about it; with the exit status of a container that ended.
    pub message: String,
    /// How long it must last before it is taken to be for good; none when it is known to pass or to need no
    /// waiting at all is `Some(0)`.
    #[serde(skip)]
    pub patience: Option<Duration>,
}

/// The first thing wrong with a pod; none while it runs, starts, or has ended well.
pub(crate) fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    if let Some(trouble) = init.chain(main).find_map(container_trouble) {
        return Some(trouble);
    }
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        return Some(Trouble {
            container: None,
            reason: "Unschedulable".to_owned(),
            message: condition.message.clone().unwrap_or_default(),
            // A volume or a node may be on its way.
            patience: Some(Duration::from_secs(30)),
        });
    }
    (status.phase.as_deref() == Some("Failed")).then(|| Trouble {
        container: None,
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
        message: status.message.clone().unwrap_or_default(),
        patience: Some(Duration::ZERO),
    })
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    let name = Some(container.name.clone());
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        let patience = match reason.as_str() {
            "" | "ContainerCreating" | "PodInitializing" => return None,
            "CrashLoopBackOff" => {
                let often = container.restart_count >= RESTARTS;
                often.then_some(Duration::ZERO)
            }
            // A registry may be restarting, a Secret may be made a moment later.
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => {
                Some(Duration::from_secs(15))
            }
            "CreateContainerConfigError" => Some(Duration::from_secs(10)),
            _ => Some(Duration::from_secs(5)),
        };
        let last = container.last_state.as_ref().and_then(ended);
        let said = waiting.message.clone().unwrap_or_default();
        let message = match last {
            Some((_, how)) => format!("{said} (last time: {how})"),
            None => said,
        };
        return Some(Trouble {
            container: name,
            reason,
            message,
            patience,
        });
    }
    let (reason, message) = ended(state)?;
    let often = container.restart_count >= RESTARTS;
    Some(Trouble {
        container: name,
        reason,
        message,
        patience: often.then_some(Duration::ZERO),
    })
}

/// Reason and description of a container's bad end; none when it runs or ended well.
fn ended(state: &ContainerState) -> Option<(String, String)> {
    let terminated = state.terminated.as_ref()?;
    if terminated.exit_code == 0 {
        return None;
    }
    let reason = terminated
        .reason
        .clone()
        .unwrap_or_else(|| "Error".to_owned());
    let mut how = match terminated.signal {
        Some(signal) if signal != 0 => format!("killed by signal {signal}"),
        _ => format!("exit status {}", terminated.exit_code),
    };
    if reason != "Error" {
        how = format!("{reason}, {how}");
    }
    if let Some(message) = terminated
        .message
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        how = format!("{how}: {}", message.trim());
    }
    Some((reason, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn with_container(state: &Value, last: &Value, restarts: i32) -> Pod {
        pod(&json!({"phase": "Running", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last,
        }]}))
    }

    #[test]
    fn a_pod_that_starts_or_ended_well_is_in_no_trouble() {
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        for state in [creating, done, json!({"running": {}})] {
            assert_eq!(trouble(&with_container(&state, &json!({}), 0)), None);
        }
        assert_eq!(trouble(&pod(&json!({"phase": "Pending"}))), None);
    }

    #[test]
    fn a_crash_loop_says_how_the_program_ended_and_is_for_good_only_after_some() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let first = trouble(&with_container(&waiting, &last, 1)).unwrap();
        assert_eq!(
            first.message,
            "back-off (last time: OOMKilled, exit status 137)"
        );
        assert_eq!(first.patience, None);
        let third = trouble(&with_container(&waiting, &last, 3)).unwrap();
        assert_eq!(third.patience, Some(Duration::ZERO));
    }

    #[test]
    fn a_pod_no_node_takes_is_named() {
        let status = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available",
        }]});
        let found = trouble(&pod(&status)).unwrap();
        assert_eq!(
            (found.reason.as_str(), found.container),
            ("Unschedulable", None)
        );
    }

    #[test]
    fn a_pod_that_goes_away_is_left_alone() {
        let mut pod = with_container(
            &json!({"terminated": {"exitCode": 143, "reason": "Error"}}),
            &json!({}),
            0,
        );
        assert!(trouble(&pod).is_some());
        pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ));
        assert_eq!(trouble(&pod), None);
    }
}
