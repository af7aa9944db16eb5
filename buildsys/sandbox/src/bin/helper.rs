//! The helper alone, for this crate's tests; tbuild itself is its own helper. Called with `enter PROGRAM...` it
//! runs a program in a user namespace, as tbuild runs itself for an ordinary user.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((first, [program, rest @ ..])) if first == "enter" => {
            let error = match tbuild_sandbox::userns::enter() {
                Ok(_) => Command::new(program).args(rest).exec().to_string(),
                Err(error) => error.to_string(),
            };
            let _gone = std::io::Write::write_all(&mut std::io::stderr(), error.as_bytes());
            ExitCode::FAILURE
        }
        Some((first, rest)) if first == tbuild_sandbox::userns::AS_USER_ARG => {
            tbuild_sandbox::userns::as_user_main(rest)
        }
        Some((first, _)) if first == tbuild_sandbox::container::INIT_ARG => {
            tbuild_sandbox::container::init_main()
        }
        _ => tbuild_sandbox::helper_main(),
    }
}
