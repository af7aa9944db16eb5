//! The executor of Linux namespaces, overlayfs and seccomp.
