//! Reporters: each consumes the one stream of events.

mod json;
mod plain;
mod tty;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};

use tbuild_realise::{Event, EventSink};

use crate::args::{Color, Global, Progress};

/// Shows events in some way.
pub trait Reporter: Send {
    /// Takes one event.
    fn event(&mut self, event: &Event);
    /// Clears what should not stay on the screen.
    fn finish(&mut self) {}
}

/// The reporter that the options ask for, shared by all threads.
#[derive(Clone)]
pub struct Report(Arc<Mutex<Box<dyn Reporter>>>);

impl Report {
    /// Chooses by options and by what standard error is.
    pub fn new(global: &Global) -> Self {
        let progress = match global.progress {
            _ if global.json => Progress::Json,
            Progress::Auto if std::io::stderr().is_terminal() => Progress::Tty,
            Progress::Auto => Progress::Plain,
            chosen => chosen,
        };
        let reporter: Box<dyn Reporter> = match progress {
            Progress::Json => Box::new(json::Json),
            Progress::Tty => Box::new(tty::Tty::new()),
            Progress::Quiet => Box::new(Quiet),
            Progress::Auto | Progress::Plain => Box::new(plain::Plain::new()),
        };
        Self(Arc::new(Mutex::new(reporter)))
    }

    /// Where events go.
    pub fn sink(&self) -> EventSink {
        let reporter = Arc::clone(&self.0);
        Arc::new(move |event| {
            if let Ok(mut reporter) = reporter.lock() {
                reporter.event(&event);
            }
        })
    }

    /// Ends the view.
    pub fn finish(&self) {
        if let Ok(mut reporter) = self.0.lock() {
            reporter.finish();
        }
    }
}

struct Quiet;

impl Reporter for Quiet {
    fn event(&mut self, _: &Event) {}
}

/// Whether to colour what goes to standard error.
pub fn colored(color: Color, no_color: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !no_color && std::io::stderr().is_terminal(),
    }
}

/// A duration as people read it: `0.3s`, `12.0s`, `2m05s`.
pub fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        format!(
            "{}m{:02}s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        )
    }
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// How far something is, in words.
fn progress(what: &str, done: u64, total: Option<u64>, is_bytes: bool) -> String {
    let show = |count| {
        if is_bytes {
            bytes(count)
        } else {
            format!("{count}")
        }
    };
    match total {
        Some(total) => format!("{what} {} of {}", show(done), show(total)),
        None => format!("{what} {}", show(done)),
    }
}

/// Prints to standard error; a reader that went away is no error.
pub fn eprint(text: &str) {
    use std::io::Write as _;
    let _gone = std::io::stderr().lock().write_all(text.as_bytes());
}
