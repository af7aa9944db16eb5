//! Brings up the node of a JSON specification, for trying this crate without the rest of tbuild.
//!
//! `node up SPEC.json [PUSH-COMMAND...]`, `node down DATA [--keep]`, `node status DATA`. The push command is
//! run when the registry listens, with its `host:port` as last argument.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command-line program"
)]

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use tbuild_node::{BoxError, Deadlines, NodeEvent, NodeSpec, Observer};

struct Terminal {
    push: Vec<OsString>,
}

impl Observer for Terminal {
    fn event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Started(_) => {}
            NodeEvent::Finished { phase, elapsed } => {
                eprintln!("{:7.2}s {phase}", elapsed.as_secs_f64());
            }
            NodeEvent::Progress { phase, line } => eprintln!("         {phase}: {line}"),
        }
    }

    fn push_images(&mut self, registry: &str) -> Result<(), BoxError> {
        let Some((program, arguments)) = self.push.split_first() else {
            return Ok(());
        };
        let status = Command::new(program)
            .args(arguments)
            .arg(registry)
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("push: {status}").into())
    }
}

fn run(arguments: &[OsString]) -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["up", spec, ..] => {
            let spec: NodeSpec = serde_json::from_slice(&std::fs::read(spec)?)?;
            let mut terminal = Terminal {
                push: arguments[2..].to_vec(),
            };
            let outcome = tbuild_node::up(&spec, &Deadlines::default(), &mut terminal)?;
            eprintln!("{outcome:?}");
        }
        ["down", data] => eprintln!("{:?}", tbuild_node::down(Path::new(data), false)?),
        ["down", data, "--keep"] => eprintln!("{:?}", tbuild_node::down(Path::new(data), true)?),
        ["status", data] => {
            let status = tbuild_node::status(Path::new(data))?;
            println!("{}", serde_json::to_string_pretty(&status)?);
        }
        _ => return Err("usage: node up SPEC [PUSH...] | down DATA [--keep] | status DATA".into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(("internal", rest)) = arguments
        .split_first()
        .and_then(|(first, rest)| Some((first.to_str()?, rest)))
    {
        return tbuild_node::internal_main(rest);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
