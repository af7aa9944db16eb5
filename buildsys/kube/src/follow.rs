//! Follows the logs of containers that come and go.

use std::collections::HashSet;
use std::time::Duration;

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::container_status;
use crate::{Cluster, LogLine};

/// How many lines may wait for the reader.
const QUEUE: usize = 1024;
/// Time before a broken stream is opened again.
const RECONNECT: Duration = Duration::from_millis(300);
/// How long logs of containers that ended may take to come.
const DRAIN: Duration = Duration::from_secs(10);

/// One run of a container: pod UID, container, how often it was started before.
type Run = (String, String, i32);

/// Follows every run of every container that it is told of, each once and from its start.
pub(crate) struct Followers {
    cluster: Cluster,
    namespace: String,
    seen: HashSet<Run>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<LogLine>,
    receiver: mpsc::Receiver<LogLine>,
    /// Only what was written in so many seconds before a container's log is opened first.
    pub(crate) since: Option<u64>,
}

impl Followers {
    pub(crate) fn new(cluster: &Cluster, namespace: &str) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            seen: HashSet::new(),
            tasks: JoinSet::new(),
            sender,
            receiver,
            since: None,
        }
    }

    /// Begins to follow what runs or ran in `pods` and is not followed yet, with `tail` lines of what was
    /// written before (all where none). Only `container`, if one is named.
    pub(crate) fn update(&mut self, pods: &[Pod], container: Option<&str>, tail: Option<u64>) {
        for pod in pods {
            let Some(status) = &pod.status else { continue };
            let init = status.init_container_statuses.iter().flatten();
            let main = status.container_statuses.iter().flatten();
            for status in init.chain(main) {
                if container.is_none_or(|name| name == status.name) {
                    self.follow(pod, status, tail);
                }
            }
        }
    }

    fn follow(&mut self, pod: &Pod, status: &ContainerStatus, tail: Option<u64>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let run = |number| (uid.clone(), status.name.clone(), number);
        let count = status.restart_count;
        // It may have ended and started again since the last look; one run back can still be read.
        if count > 0 && tail.is_none() && self.seen.insert(run(count - 1)) {
            self.start(pod, status, count - 1, true, tail);
        }
        let state = status.state.as_ref();
        let started = state.is_some_and(|s| s.running.is_some() || s.terminated.is_some());
        if started && self.seen.insert(run(count)) {
            self.start(pod, status, count, false, tail);
        }
    }

    fn start(
        &mut self,
        pod: &Pod,
        status: &ContainerStatus,
        run: i32,
        previous: bool,
        tail: Option<u64>,
    ) {
        let follower = Follower {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: status.name.clone(),
            run,
            previous,
            tail,
            since: self.since,
            sender: self.sender.clone(),
            last: None,
        };
        self.tasks.spawn(follower.run());
    }

    /// The next line; never resolves while there is none.
    pub(crate) async fn next(&mut self) -> LogLine {
        match self.receiver.recv().await {
            Some(line) => line,
            // Cannot be: this holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Hands on what containers that ended have yet to say.
    pub(crate) async fn drain(mut self, on_line: &mut impl FnMut(LogLine)) {
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                Some(line) = self.receiver.recv() => on_line(line),
                ended = self.tasks.join_next() => {
                    if ended.is_none() {
                        break;
                    }
                }
                () = &mut deadline => break,
            }
        }
        while let Ok(line) = self.receiver.try_recv() {
            on_line(line);
        }
    }
}

struct Follower {
    cluster: Cluster,
    namespace: String,
    pod: String,
    container: String,
    run: i32,
    previous: bool,
    tail: Option<u64>,
    since: Option<u64>,
    sender: mpsc::Sender<LogLine>,
    /// Time of the last line handed on.
    last: Option<Timestamp>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            match self.stream().await {
                // Nobody listens any more.
                Err(Stop) => return,
                Ok(()) if self.previous || !self.still_runs().await => {
                    // What was written between the end of the stream and the end of the container.
                    if !self.previous {
                        let _ = self.stream().await;
                    }
                    return;
                }
                Ok(()) => tokio::time::sleep(RECONNECT).await,
            }
        }
    }

    /// Reads the log to its end or to an error, which are told apart by asking for the container.
    async fn stream(&mut self) -> Result<(), Stop> {
        let pods = self.cluster.namespaced::<Pod>(&self.namespace);
        let tail = self.tail.filter(|_| self.last.is_none());
        let since = self.since.filter(|_| self.last.is_none());
        let parameters = LogParams {
            container: Some(self.container.clone()),
            follow: !self.previous,
            previous: self.previous,
            tail_lines: tail.and_then(|lines| i64::try_from(lines).ok()),
            since_seconds: since.and_then(|seconds| i64::try_from(seconds).ok()),
            since_time: self.last,
            timestamps: true,
            ..LogParams::default()
        };
        let Ok(stream) = pods.log_stream(&self.pod, &parameters).await else {
            return Ok(());
        };
        let mut lines = stream.lines();
        // Times are cut to the second in the request: what was handed on comes again.
        let handed_on = self.last;
        while let Ok(Some(line)) = lines.try_next().await {
            let (time, text) = split_time(&line);
            if handed_on.is_some() && time <= handed_on {
                continue;
            }
            self.last = time.or(self.last);
            let line = LogLine {
                pod: self.pod.clone(),
                container: self.container.clone(),
                text: text.to_owned(),
            };
            self.sender.send(line).await.map_err(|_| Stop)?;
        }
        Ok(())
    }

    /// Whether this run of the container goes on. While nobody can say, it does.
    async fn still_runs(&self) -> bool {
        let pods = self.cluster.namespaced::<Pod>(&self.namespace);
        match self.cluster.ask("find pod", pods.get_opt(&self.pod)).await {
            Ok(Some(pod)) => container_status(&pod, &self.container).is_some_and(|status| {
                let state = status.state.as_ref();
                status.restart_count == self.run && state.is_some_and(|s| s.running.is_some())
            }),
            Ok(None) => false,
            Err(_) => true,
        }
    }
}

/// Whoever reads the lines is gone.
struct Stop;

/// The time that a line begins with (RFC 3339), and the rest.
fn split_time(line: &str) -> (Option<Timestamp>, &str) {
    let Some((time, text)) = line.split_once(' ') else {
        return match line.parse() {
            // An empty line.
            Ok(time) => (Some(time), ""),
            Err(_) => (None, line),
        };
    };
    match time.parse() {
        Ok(time) => (Some(time), text),
        Err(_) => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::split_time;

    #[test]
    fn lines_lose_their_time_and_nothing_else() {
        let (time, text) = split_time("2026-11-21T06:01:52.242550Z  two  spaces");
        assert!(time.is_some());
        assert_eq!(text, " two  spaces");
        assert_eq!(split_time("2026-11-21T06:01:52Z").1, "");
        assert_eq!(split_time("no time here"), (None, "no time here"));
        assert_eq!(split_time(""), (None, ""));
    }
}
