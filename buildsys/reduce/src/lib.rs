//! Indexes of package archives, cut down to what was taken from them.
//!
//! An archive of packages changes its indexes and does not keep them, and they are large: Debian's has 9 MB for what
//! most images take some dozen packages of. What is cut down is small enough to be kept with a lock; it is signed
//! again, by a key that nobody trusts but the step which is answered from the lock.

pub mod apt;
pub mod keyring;
pub mod openpgp;
pub mod pypi;
