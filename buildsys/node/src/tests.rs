//! Tests of what needs no machine; the machine's are in `tests/`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::*;

fn spec() -> NodeSpec {
    NodeSpec {
        name: "node".to_owned(),
        data: PathBuf::from("/data"),
        lower: vec![PathBuf::from("/layer")],
        kubernetes_version: "v1.34.2".to_owned(),
        registry: "localhost:5000".to_owned(),
        registry_command: Vec::new(),
        images: ClusterImages {
            repository: "localhost:5000/k8s".to_owned(),
            etcd: "3.6.5-0".to_owned(),
            coredns: "v1.12.4".to_owned(),
            pause: "3.10.1".to_owned(),
        },
        addresses: Addresses::default(),
        labels: BTreeMap::new(),
        etcd_fsync: false,
        reexec: Vec::new(),
    }
}

#[test]
fn a_default_node_is_valid() {
    spec().validate().unwrap();
}

#[test]
fn what_would_fail_later_fails_at_once() {
    let wrong: [fn(&mut NodeSpec); 9] = [
        |spec| spec.name = String::new(),
        |spec| spec.name = "longer-than-eleven".to_owned(),
        |spec| spec.name = "Upper".to_owned(),
        |spec| spec.data = PathBuf::from("relative"),
        |spec| spec.lower.clear(),
        |spec| spec.registry = "registry.example.com:5000".to_owned(),
        |spec| spec.registry = "localhost".to_owned(),
        |spec| spec.addresses.lan = "10.244.3.0/24".parse().unwrap(),
        |spec| spec.addresses.pods = "10.9.0.0/25".parse().unwrap(),
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut spec = spec();
        change(&mut spec);
        assert!(spec.validate().is_err(), "change {number} was taken");
    }
}

#[test]
fn labels_do_not_make_another_machine_and_layers_do() {
    let (one, mut other) = (spec(), spec());
    other
        .labels
        .insert("webServer".to_owned(), "yes".to_owned());
    assert!(one.same_machine(&other));
    other.lower.push(PathBuf::from("/another"));
    assert!(!one.same_machine(&other));
}

#[test]
fn every_yaml_document_is_json_and_names_the_images() {
    let files = documents::files(&spec(), 5000);
    let (_, kubeadm) = files
        .iter()
        .find(|(path, _)| path == documents::KUBEADM_CONFIG)
        .unwrap();
    let documents: Vec<serde_json::Value> = kubeadm
        .split("---\n")
        .filter(|text| !text.is_empty())
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(documents.len(), 4);
    assert_eq!(documents[1]["imageRepository"], "localhost:5000/k8s");
    assert_eq!(documents[1]["networking"]["podSubnet"], "10.244.0.0/16");
}

#[test]
fn times_are_written_as_the_api_server_does() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(up::rfc3339(seconds), text);
    }
}

proptest! {
    #[test]
    fn subnets_round_trip_and_keep_no_host_bits(bits: u32, prefix in 0_u8..=32) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let subnet = Subnet::new(Ipv4Addr::from_bits(bits & mask), prefix).unwrap();
        prop_assert_eq!(subnet.to_string().parse::<Subnet>().unwrap(), subnet);
        prop_assert_eq!(Subnet::new(Ipv4Addr::from_bits(bits), prefix).is_some(), bits & !mask == 0);
    }

    #[test]
    fn subnets_overlap_when_one_begins_in_the_other(a: u32, b: u32, p in 0_u8..=32, q in 0_u8..=32) {
        let make = |bits: u32, prefix: u8| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (bits & mask, mask, Subnet::new(Ipv4Addr::from_bits(bits & mask), prefix).unwrap())
        };
        let ((a, a_mask, one), (b, b_mask, other)) = (make(a, p), make(b, q));
        let expected = a & b_mask == b || b & a_mask == a;
        prop_assert_eq!(one.overlaps(other), expected);
        prop_assert_eq!(other.overlaps(one), expected);
    }
}
