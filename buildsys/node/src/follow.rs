//! Follows what the supervisor and the machine report while a node comes up.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::event::Report;
use crate::layout::Layout;
use crate::state::State;
use crate::{NodeError, NodeEvent, Observer, Phase};

/// How often files are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How many of a log's last lines an error shows.
const TAIL_LINES: usize = 20;
/// How far back those are looked for, in bytes.
const TAIL_BYTES: i64 = 32 << 10;

/// A file that grows, read line by line. It may not be there yet.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    file: Option<File>,
    pending: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            pending: Vec::new(),
        }
    }

    /// The whole lines that came since the last call.
    pub(crate) fn poll(&mut self) -> Vec<String> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            // What cannot be read now is read at the next call.
            let _ = file.read_to_end(&mut self.pending);
        }
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// The last lines of a log; none when it is not there.
pub(crate) fn tail(path: &Path) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        let length = file.metadata()?.len();
        if length > TAIL_BYTES as u64 {
            file.seek(SeekFrom::End(-TAIL_BYTES))?;
        }
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = VecDeque::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
    lines.into()
}

/// One caller's view of a node that comes up.
pub(crate) struct Following<'a> {
    layout: &'a Layout,
    name: &'a str,
    events: Lines,
    finished: Vec<Phase>,
    observer: &'a mut dyn Observer,
    began: Instant,
}

impl<'a> Following<'a> {
    pub(crate) fn new(layout: &'a Layout, name: &'a str, observer: &'a mut dyn Observer) -> Self {
        Self {
            layout,
            name,
            events: Lines::new(layout.events()),
            finished: Vec::new(),
            observer,
            began: Instant::now(),
        }
    }

    pub(crate) fn begin(&mut self, phase: Phase) {
        self.began = Instant::now();
        self.observer.event(NodeEvent::Started(phase));
    }

    pub(crate) fn finish(&mut self, phase: Phase) {
        let elapsed = self.began.elapsed();
        self.observer.event(NodeEvent::Finished { phase, elapsed });
    }

    pub(crate) fn progress(&mut self, phase: Phase, line: String) {
        self.observer.event(NodeEvent::Progress { phase, line });
    }

    /// Has the caller push the images.
    pub(crate) fn push_images(&mut self, registry: &str) -> Result<(), NodeError> {
        self.observer
            .push_images(registry)
            .map_err(|source| NodeError::Images {
                name: self.name.to_owned(),
                source,
            })
    }

    /// Waits until `done` has a result. Says on its way what `log`, the log that tells about `phase`, says.
    pub(crate) fn wait_until<T>(
        &mut self,
        phase: Phase,
        limit: Duration,
        log: &Path,
        mut done: impl FnMut(&mut Self) -> Result<Option<T>, NodeError>,
    ) -> Result<T, NodeError> {
        self.begin(phase);
        loop {
            self.read_reports()?;
            if let Some(result) = done(self)? {
                self.finish(phase);
                return Ok(result);
            }
            if self.began.elapsed() > limit {
                let message = format!("not done after {} s", limit.as_secs());
                return Err(self.failure(phase, message, Some(log)));
            }
            let alive = State::load(self.layout)?.is_none_or(|state| state.is_alive());
            if !alive {
                // Its last report may have come after the look above.
                self.read_reports()?;
                let log = self.layout.log("supervisor");
                return Err(self.failure(phase, "its supervisor ended".to_owned(), Some(&log)));
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until the supervisor or the machine says that `phase` is over.
    pub(crate) fn wait_for(
        &mut self,
        phase: Phase,
        limit: Duration,
        log: &Path,
    ) -> Result<(), NodeError> {
        let mut lines = Lines::new(log.to_owned());
        self.wait_until(phase, limit, log, |this| {
            if phase == Phase::ControlPlane {
                for line in lines.poll().into_iter().filter(|line| tells_progress(line)) {
                    this.progress(phase, line);
                }
            }
            Ok(this.finished.contains(&phase).then_some(()))
        })
    }

    fn read_reports(&mut self) -> Result<(), NodeError> {
        for line in self.events.poll() {
            match serde_json::from_str(&line) {
                Ok(Report::Finished { phase }) => self.finished.push(phase),
                Ok(Report::Failed {
                    phase,
                    message,
                    log,
                }) => {
                    let log = log.map(|name| self.log(&name));
                    return Err(self.failure(phase, message, log.as_deref()));
                }
                Err(source) => {
                    return Err(NodeError::State {
                        path: self.layout.events(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        let outside = self.layout.log(name);
        if outside.exists() {
            outside
        } else {
            self.layout.machine_log(name)
        }
    }

    pub(crate) fn failure(&self, phase: Phase, message: String, log: Option<&Path>) -> NodeError {
        NodeError::Phase {
            name: self.name.to_owned(),
            phase,
            message,
            tail: log.map(tail).unwrap_or_default(),
            log: log.map(Path::to_owned),
        }
    }
}

/// Whether a line of kubeadm's tells how far it is, and no secret.
fn tells_progress(line: &str) -> bool {
    line.starts_with('[') && !line.contains("token: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn lines_come_whole_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut lines = Lines::new(path.clone());
        assert!(lines.poll().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.poll(), ["one"]);
        assert!(lines.poll().is_empty());
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines.poll(), ["two", "three"]);
    }

    #[test]
    fn the_tail_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text = (0..10_000).fold(String::new(), |text, n| text + &format!("line {n}\n\n"));
        std::fs::write(&path, text).unwrap();
        let lines = tail(&path);
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines.last().unwrap(), "line 9999");
        assert!(tail(&folder.path().join("none")).is_empty());
    }
}
