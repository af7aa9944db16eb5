//! A release whose client died in the middle.

use std::time::Duration;

use tbuild_exec::Cancel;

use crate::program::DEPLOYED;
use crate::{Helm, HelmError, LineSink};

/// What was done about a release before it can be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was pending.
    NotNeeded,
    /// An upgrade or rollback was pending: the release is back at what this revision holds.
    RolledBack {
        /// The revision that was deployed last.
        to: u32,
    },
    /// Its first installation was pending, or it was being uninstalled: it is gone, and can be installed.
    Uninstalled,
}

impl Helm {
    /// Makes a release that a dead client left `pending-*` or `uninstalling` ready for the next upgrade. helm itself
    /// never does: it says "another operation is in progress" for ever.
    ///
    /// `is_owner_alive` says whether the client that left it so is still at work; then it is
    /// [`HelmError::InProgress`].
    ///
    /// Where a revision is deployed, the release is rolled back to it, without waiting: helm compares the pending
    /// revision's manifest with the deployed one, and removes what only the pending one made. (Dropping the pending
    /// record instead would orphan that.) Where nothing was ever deployed there is nothing to go back to: the
    /// half-made objects are removed. Volumes that a chart retains outlive that.
    pub async fn recover(
        &self,
        release: &str,
        namespace: &str,
        is_owner_alive: bool,
        timeout: Duration,
        output: &mut LineSink<'_>,
        cancel: &Cancel,
    ) -> Result<Recovery, HelmError> {
        let history = self.history(release, namespace).await?;
        let Some(last) = history.last() else {
            return Ok(Recovery::NotNeeded);
        };
        if !last.status.starts_with("pending-") && last.status != "uninstalling" {
            return Ok(Recovery::NotNeeded);
        }
        if is_owner_alive {
            return Err(HelmError::InProgress {
                release: release.to_owned(),
                status: last.status.clone(),
            });
        }
        tracing::info!(release, namespace, status = %last.status, revision = last.revision, "recovering a release");
        let deployed = history
            .iter()
            .rev()
            .find(|revision| revision.status == DEPLOYED);
        match deployed {
            Some(deployed) if last.status != "uninstalling" => {
                let to = deployed.revision;
                self.rollback(release, namespace, Some(to), None, output, cancel)
                    .await?;
                Ok(Recovery::RolledBack { to })
            }
            _ => {
                self.uninstall(release, namespace, timeout, output, cancel)
                    .await?;
                Ok(Recovery::Uninstalled)
            }
        }
    }
}
