//! Java's key stores: what is added to one is added with the time of day, in the order in which a folder is read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use tbuild_netlock::KeyStore;

/// A store with every authority there is has some hundred kilobytes.
const LARGEST: u64 = 16 << 20;

/// Gives all entries the time 0 and the order of their names; what is no key store with the usual password stays. False
/// if nothing changed.
pub(super) fn normalize(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() > LARGEST {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(mut store) = KeyStore::parse(&bytes) else {
        return Ok(false);
    };
    store.normalize();
    let normal = store.to_bytes();
    if normal == bytes {
        return Ok(false);
    }
    file.rewind()?;
    file.write_all(&normal)?;
    Ok(true)
}
