//! What a collection of garbage may take, and what not: the store knows names alone.

use tbuild_realise::LAST;
use tbuild_registry::TAGS;

use crate::cache_mount::PURPOSE;
use crate::deployed::DEPLOYED;
use crate::resemble::BASE;

/// Spaces of references that keep what they name: what clusters and nodes run, and what users have tagged.
pub const ROOTS: [&str; 2] = [DEPLOYED, TAGS];

/// Spaces of references that stay without what they name: what a node was known by, so that `why` can say that its
/// result is gone.
pub const MEMORIES: [&str; 1] = [LAST];

/// Spaces of references that are of use only while all that they name is there: from what a layer differs little.
pub const HINTS: [&str; 1] = [BASE];

/// Purposes of scratch folders whose entries are of use again, and are made again where they are missing.
pub const CACHES: [&str; 6] = [PURPOSE, "tools", "git", "charts", "verify", "base"];
