//! An image's config: what is read and written comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tbuild_oci::ImageConfig;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = ImageConfig::from_bytes(bytes) {
        let written = config.to_bytes();
        let again = ImageConfig::from_bytes(&written).expect("its own bytes are read");
        assert_eq!(again.to_bytes(), written);
    }
});
