//! Which earlier layer a COPY's layer resembles, so that only what differs is unpacked for the steps over it.

use tbuild_digest::{DiffId, Encoder, Sha256};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use crate::World;
use crate::copy::Copy;

/// The store's space for the layer that a COPY wrote last, by what it copies where.
const LAST: &str = "copy-last";

/// The store's space for the layer to unpack a layer over, by diff ID.
pub(crate) const BASE: &str = "snapshot-base";

/// Names a COPY, whatever its files hold.
pub(crate) fn name(world: &World, copy: &Copy) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut encoder = Encoder::new();
    encoder.bytes(world.project.as_os_str().as_bytes());
    encoder.bytes(copy.what.as_bytes());
    encoder.bytes(copy.dest.as_bytes());
    encoder.bytes(copy.path_texts().join("\0").as_bytes());
    encoder.finish().hex()
}

/// Notes that the COPY of this name wrote `layer` now. What it wrote before, or what that is unpacked over,
/// becomes the layer's base: always one that is unpacked whole, so that deltas never pile up.
pub(crate) fn note(world: &World, name: &str, layer: &DiffId) -> Result<(), OpError> {
    let store = &world.store;
    if let Some(last) = diff_id(store.reference(LAST, name)?)
        && last != *layer
    {
        let whole = match store.snapshot(&last)? {
            Some(_) => Some(last),
            None => base(world, &last)?,
        };
        if let Some(whole) = whole.filter(|whole| whole != layer) {
            store.set_reference(BASE, &layer.hex(), Some(whole.hex().as_bytes()))?;
        }
    }
    store.set_reference(LAST, name, Some(layer.hex().as_bytes()))?;
    Ok(())
}

/// The layer that `layer` is to be unpacked over; none if there is none like it.
pub(crate) fn base(world: &World, layer: &DiffId) -> Result<Option<DiffId>, OpError> {
    Ok(diff_id(world.store.reference(BASE, &layer.hex())?))
}

fn diff_id(kept: Option<Vec<u8>>) -> Option<DiffId> {
    let text = String::from_utf8(kept?).ok()?;
    Sha256::from_hex(&text).ok().map(DiffId)
}
