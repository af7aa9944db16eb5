//! The live view: running nodes with elapsed time and last output line, and the counts below.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tbuild_realise::{Event, Status};

use super::plain::sentence;
use super::{Reporter, duration, progress};

/// The live reporter.
pub struct Tty {
    begun: Instant,
    view: MultiProgress,
    footer: ProgressBar,
    running: HashMap<String, (ProgressBar, String)>,
    total: usize,
    cached: usize,
    ran: usize,
}

impl Tty {
    /// An empty view on standard error.
    pub fn new() -> Self {
        let view = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let footer = view.add(ProgressBar::new_spinner().with_style(style("{msg}")));
        Self {
            begun: Instant::now(),
            view,
            footer,
            running: HashMap::new(),
            total: 0,
            cached: 0,
            ran: 0,
        }
    }

    fn counts(&self) {
        self.footer.set_message(format!(
            "{} of {} nodes done ({} run, {} up to date), {} running",
            self.cached + self.ran,
            self.total,
            self.ran,
            self.cached,
            self.running.len(),
        ));
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a wrong one falls back to indicatif's own look.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Reporter for Tty {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { nodes } => self.total = *nodes,
            Event::NodeStarted { node, title, .. } => {
                let bar = ProgressBar::new_spinner()
                    .with_style(style("{spinner} {elapsed:>4} {wide_msg}"));
                let bar = self.view.insert_before(&self.footer, bar);
                bar.enable_steady_tick(Duration::from_millis(120));
                let head = format!("{node} {title}");
                bar.set_message(head.clone());
                self.running.insert(node.clone(), (bar, head));
                self.counts();
            }
            Event::Output { node, text, .. } => {
                let last = text.lines().rev().find(|line| !line.trim().is_empty());
                if let (Some((bar, head)), Some(last)) = (self.running.get(node), last) {
                    bar.set_message(format!("{head} | {}", last.trim()));
                }
            }
            Event::Progress {
                node,
                what,
                done,
                total,
                bytes,
            } => {
                if let Some((bar, head)) = self.running.get(node) {
                    bar.set_message(format!(
                        "{head} | {}",
                        progress(what, *done, *total, *bytes)
                    ));
                }
            }
            Event::Notice { node, message } => {
                let _gone = self.view.println(format!("{node}: {message}"));
            }
            Event::NodeFinished {
                node,
                status,
                duration: took,
                ..
            } => {
                if let Some((bar, head)) = self.running.remove(node) {
                    bar.finish_and_clear();
                    self.view.remove(&bar);
                    let mark = match status {
                        Status::Ran => "done",
                        Status::Failed => "FAILED",
                        _ => "stopped",
                    };
                    let _gone = self
                        .view
                        .println(format!("{mark:>6} {:>7} {head}", duration(*took)));
                }
                match status {
                    Status::Composed | Status::Cached => self.cached += 1,
                    Status::Ran => self.ran += 1,
                    _ => {}
                }
                // A no-op of many nodes must not draw for each of them.
                if !self.running.is_empty() || *status == Status::Ran {
                    self.counts();
                }
            }
            Event::Finished { summary } => {
                self.footer.finish_and_clear();
                let _gone = self.view.println(sentence(summary, self.begun.elapsed()));
            }
        }
    }

    fn finish(&mut self) {
        let _gone = self.view.clear();
    }
}
