//! The scheduler: nodes in critical-path order, early cutoff, typed events.
