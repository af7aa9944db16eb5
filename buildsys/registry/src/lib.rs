//! OCI distribution: client and server.
