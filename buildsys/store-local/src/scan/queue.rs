//! Work that makes more work, shared by a few threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A stack of tasks. It is done when no task is left and none is being worked on.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    tasks: Vec<T>,
    /// Tasks on the stack and in work.
    pending: usize,
    idle: usize,
    stopped: bool,
}

impl<T> Queue<T> {
    pub fn new(first: T) -> Self {
        Self {
            state: Mutex::new(State {
                tasks: vec![first],
                pending: 1,
                idle: 0,
                stopped: false,
            }),
            wake: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task, the newest first, so that few folders are open at a time; waits for one. None when
    /// everything is done or [`Queue::stop`] was called.
    pub fn take(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.stopped || state.pending == 0 {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                return Some(task);
            }
            state.idle += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Says that a taken task is done, and adds the tasks that came out of it, leaving `more` empty.
    pub fn done(&self, more: &mut Vec<T>) {
        let mut state = self.state();
        state.pending = state.pending + more.len() - 1;
        state.tasks.append(more);
        // Waking costs a call into the kernel even where nobody sleeps.
        if state.idle > 0 {
            if state.pending == 0 || state.tasks.len() > 1 {
                self.wake.notify_all();
            } else {
                self.wake.notify_one();
            }
        }
    }

    /// Ends all work early.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.wake.notify_all();
    }
}
