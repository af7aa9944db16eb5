//! What a cluster reports: workloads, pods, events, logs, and Jobs run with their logs streamed.
