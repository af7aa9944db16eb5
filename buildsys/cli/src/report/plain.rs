//! A plain log: a line for each thing that happens, with the node in front.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tbuild_realise::{Event, Status, Summary};

use super::{Reporter, duration, eprint, progress};

/// How often progress of one node is told.
const EVERY: Duration = Duration::from_secs(5);
/// How much of one node's output is shown, in bytes; all of it is in its log.
const MOST: usize = 2 << 20;
/// What is longer counts as a line even where it does not end.
const LONGEST: usize = 16 << 10;

/// The plain reporter.
pub struct Plain {
    begun: Instant,
    /// The unfinished last line of each node.
    partial: HashMap<String, String>,
    told: HashMap<String, Instant>,
    /// How much of each node's output came so far, in bytes.
    shown: HashMap<String, usize>,
}

impl Plain {
    /// A reporter that has told nothing.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            partial: HashMap::new(),
            told: HashMap::new(),
            shown: HashMap::new(),
        }
    }

    fn line(&self, node: &str, text: &str) {
        eprint(&format!(
            "[{:>6.1}s] {node} | {text}\n",
            self.begun.elapsed().as_secs_f64()
        ));
    }

    fn output(&mut self, node: &str, text: &str) {
        let shown = self.shown.entry(node.to_owned()).or_default();
        if *shown > MOST {
            return;
        }
        *shown += text.len();
        if *shown > MOST {
            self.partial.remove(node);
            let rest = format!("(the rest is not shown: tbuild log {node})");
            return self.line(node, &rest);
        }
        let mut rest = self.partial.remove(node).unwrap_or_default();
        rest.push_str(text);
        while let Some(end) = rest.find('\n') {
            self.line(node, rest[..end].trim_end_matches('\r'));
            rest.drain(..=end);
        }
        if rest.len() > LONGEST {
            self.line(node, &rest);
        } else if !rest.is_empty() {
            self.partial.insert(node.to_owned(), rest);
        }
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { .. } => {}
            Event::NodeStarted { node, title, .. } => self.line(node, &format!("> {title}")),
            Event::Output { node, text, .. } => self.output(node, text),
            Event::Notice { node, message } => self.line(node, message),
            Event::Progress {
                node,
                what,
                done,
                total,
                bytes,
            } => {
                let due = self
                    .told
                    .get(node)
                    .is_none_or(|last| last.elapsed() >= EVERY);
                if due || Some(*done) == *total {
                    self.told.insert(node.clone(), Instant::now());
                    self.line(node, &progress(what, *done, *total, *bytes));
                }
            }
            Event::NodeFinished {
                node,
                status,
                duration: took,
                error,
                ..
            } => {
                self.shown.remove(node);
                if let Some(rest) = self.partial.remove(node) {
                    self.line(node, &rest);
                }
                match status {
                    Status::Ran => self.line(node, &format!("done in {}", duration(*took))),
                    Status::Failed => {
                        let error = error.as_deref().unwrap_or_default();
                        self.line(node, &format!("FAILED after {}: {error}", duration(*took)));
                    }
                    Status::Cancelled => self.line(node, "cancelled"),
                    Status::Composed
                    | Status::Cached
                    | Status::WouldRun
                    | Status::MayRun
                    | Status::Skipped => {}
                }
            }
            Event::Finished { summary } => {
                eprint(&format!("{}\n", sentence(summary, self.begun.elapsed())));
            }
        }
    }
}

/// The counts as one sentence.
pub fn sentence(summary: &Summary, took: Duration) -> String {
    let mut text = format!(
        "{} nodes: {} run, {} up to date",
        summary.nodes, summary.ran, summary.cached
    );
    for (count, word) in [
        (summary.pending, "to run"),
        (summary.failed, "failed"),
        (summary.skipped, "skipped"),
    ] {
        if count > 0 {
            let _infallible = write!(text, ", {count} {word}");
        }
    }
    let _infallible = write!(text, " in {}", duration(took));
    text
}
