//! The store in a local folder: blobs, action results, snapshots, the stat cache.
