//! The outside world as input: Debian packages, git, HTTP files, tools.
