use proptest::prelude::*;

use super::*;

#[test]
fn sha256_of_abc_is_the_standards_vector() {
    // FIPS 180-4, example "abc".
    assert_eq!(
        BlobDigest::of(b"abc").to_string(),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn refuses_what_is_not_a_digest() {
    for text in [
        "",
        "sha256:",
        "sha512:00",
        "sha256:zz",
        &format!("sha256:{}", "A".repeat(64)),
    ] {
        assert!(text.parse::<BlobDigest>().is_err(), "{text:?} was taken");
    }
}

#[test]
fn encoding_tells_boundaries_apart() {
    let one = vec!["ab".to_owned(), "c".to_owned()];
    let other = vec!["a".to_owned(), "bc".to_owned()];
    assert_ne!(one.content_digest(), other.content_digest());
}

proptest! {
    #[test]
    fn text_form_round_trips(bytes in prop::array::uniform32(any::<u8>())) {
        let digest = BlobDigest(Sha256(bytes));
        prop_assert_eq!(digest.to_string().parse::<BlobDigest>().unwrap(), digest);
    }

    #[test]
    fn different_lists_encode_differently(a in prop::collection::vec(".{0,4}", 0..4), b in prop::collection::vec(".{0,4}", 0..4)) {
        prop_assert_eq!(a == b, a.content_digest() == b.content_digest());
    }
}
