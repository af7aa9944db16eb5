//! Which image of an index is a platform's.

use tbuild_oci::{Descriptor, Platform};

/// The image of an index for `wanted`: the same system, architecture and variant. A variant that one side
/// leaves out is the architecture's usual one (containerd's rules).
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let platform = |one: &&Descriptor| {
        one.platform
            .as_ref()
            .is_some_and(|own| matches(own, wanted))
    };
    manifests.iter().find(platform)
}

/// Whether an image of platform `own` is one for `wanted`.
pub(super) fn matches(own: &Platform, wanted: &Platform) -> bool {
    own.os == wanted.os
        && own.architecture == wanted.architecture
        && variant(own) == variant(wanted)
}

fn variant(platform: &Platform) -> Option<&str> {
    let usual = match platform.architecture.as_str() {
        "arm64" => "v8",
        "arm" => "v7",
        "amd64" => "v1",
        _ => "",
    };
    let own = platform.variant.as_deref().unwrap_or(usual);
    (!own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants() {
        let is = |own: &str, wanted: &str| {
            matches(
                &Platform::parse(own).unwrap(),
                &Platform::parse(wanted).unwrap(),
            )
        };
        assert!(is("linux/amd64", "linux/amd64"));
        assert!(is("linux/arm64/v8", "linux/arm64"));
        assert!(is("linux/arm64", "linux/arm64/v8"));
        assert!(is("linux/arm", "linux/arm/v7"));
        assert!(!is("linux/arm/v6", "linux/arm/v7"));
        assert!(!is("linux/amd64", "windows/amd64"));
        assert!(!is("linux/amd64/v3", "linux/amd64"));
    }
}
