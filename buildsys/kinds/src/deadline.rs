//! A time-out for one step.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tbuild_exec::Cancel;
use tbuild_realise::OpError;

/// How often it is looked whether the whole run is cancelled.
const TICK: Duration = Duration::from_millis(50);

/// Cancels a step when its time is over or the run is cancelled. Ends when dropped.
pub(crate) struct Deadline {
    run: Cancel,
    step: Cancel,
    timeout: Option<Duration>,
    /// Dropped to end the watch.
    over: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Deadline {
    /// Starts the clock. Without a time-out there is none, and the step is cancelled as the run is.
    pub(crate) fn start(run: &Cancel, timeout: Option<Duration>) -> Self {
        let mut deadline = Self {
            run: run.clone(),
            step: run.clone(),
            timeout,
            over: None,
            watch: None,
        };
        if let Some(timeout) = timeout {
            let step = Cancel::new();
            let (over, ended) = channel::<()>();
            let (run, stop, begun) = (run.clone(), step.clone(), Instant::now());
            let watch = std::thread::spawn(move || {
                while begun.elapsed() < timeout && !run.is_cancelled() {
                    let left = timeout.saturating_sub(begun.elapsed()).min(TICK);
                    if ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
                stop.cancel();
            });
            deadline.step = step;
            deadline.over = Some(over);
            deadline.watch = Some(watch);
        }
        deadline
    }

    /// What the step is to be run with.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.step
    }

    /// Why the step was cancelled; `command` is what ran.
    pub(crate) fn error(&self, command: &str) -> OpError {
        match self.timeout {
            Some(timeout) if !self.run.is_cancelled() => OpError::failed_text(format!(
                "{command}: timed out after {} s",
                timeout.as_secs_f64()
            ))
            .hint("--timeout gives each step more time"),
            _ => OpError::Cancelled,
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(watch) = self.watch.take() {
            // It has ended, whichever way.
            let _ended = watch.join();
        }
    }
}
