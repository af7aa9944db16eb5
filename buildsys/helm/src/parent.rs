//! The thread that starts every helm.
//!
//! A launcher such as `setpriv --pdeathsig` ties a program's life to the *thread* that started it (prctl(2),
//! `PR_SET_PDEATHSIG`), and a runtime's threads come and go. This one lives as long as the process.

use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;

type Work = Box<dyn FnOnce() + Send>;

static THREAD: LazyLock<io::Result<Sender<Work>>> = LazyLock::new(|| {
    let (sender, work) = channel::<Work>();
    thread::Builder::new()
        .name("helm's parent".to_owned())
        .spawn(move || work.into_iter().for_each(|work| work()))?;
    Ok(sender)
});

/// Starts `command` from the thread that lives on. To be called within a runtime, which then waits for the child.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    let runtime = Handle::current();
    let (tell, answer) = channel();
    let work = Box::new(move || {
        let _entered = runtime.enter();
        // Nobody listens any more only when the caller has panicked.
        let _ = tell.send(command.spawn());
    });
    let thread = THREAD
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let gone = || io::Error::other("the thread that starts programs has ended");
    thread.send(work).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread that asks is gone long before the child is: the child lives on.
    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let asking = thread::spawn(move || {
            let _entered = handle.enter();
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--", "sleep", "1"]);
            spawn(command).unwrap()
        });
        let mut child = asking.join().unwrap();
        let status = runtime.block_on(child.wait()).unwrap();
        assert!(status.success(), "{status}");
    }
}
