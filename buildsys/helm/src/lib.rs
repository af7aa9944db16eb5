//! Charts packaged deterministically, and the helm program driven under a wrapper.
