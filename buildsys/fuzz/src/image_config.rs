//! An image's config: what is read and written comes back the same.

use tbuild_oci::ImageConfig;

/// Looks at one input.
pub fn check(bytes: &[u8]) {
    if let Ok(config) = ImageConfig::from_bytes(bytes) {
        let written = config.to_bytes();
        let again = ImageConfig::from_bytes(&written).expect("its own bytes are read");
        assert_eq!(again.to_bytes(), written);
    }
}
