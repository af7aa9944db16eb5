//! Any tar, as a layer and with its contents read; compressed as well.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use tbuild_oci::{LayerError, decompress, read_layer};

fuzz_target!(|bytes: &[u8]| {
    let _any = read_layer::<LayerError>(bytes, |member| {
        let path = member.entry.path.as_bytes();
        assert!(!path.split(|byte| *byte == b'/').any(|part| part == b".." || part == b"."), "{path:?}");
        let mut some = Vec::new();
        let _short = member.content.take(1 << 16).read_to_end(&mut some);
        Ok(())
    });
    if let Ok(plain) = decompress(bytes) {
        // Few bytes may come to very many.
        let _any = read_layer::<LayerError>(plain.take(1 << 20), |_| Ok(()));
    }
});
