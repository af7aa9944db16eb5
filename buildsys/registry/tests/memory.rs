//! A blob of 200 MB there and back: memory does not grow with it. A test of its own, for a process of its own.

mod common;

use std::io::{self, Read, Write};

use common::{Ours, client};
use tbuild_digest::{BlobDigest, Hasher};
use tbuild_oci::{Descriptor, media_type};
use tbuild_registry::PushBlob;

const SIZE: u64 = 200 << 20;

/// Bytes that this process has had in memory at most, and has now.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let read = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes << 10
    };
    (read("VmHWM:"), read("VmRSS:"))
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_blob_takes_little_memory() {
    let ours = Ours::start().await;
    let client = client();
    let mut hasher = Hasher::new();
    io::copy(&mut io::repeat(0).take(SIZE), &mut hasher).unwrap();
    let digest = BlobDigest(hasher.finish());
    let descriptor = Descriptor::new(media_type::LAYER, digest, SIZE);
    let folder = tempfile::tempdir().unwrap();
    let sparse = folder.path().join("sparse");
    std::fs::File::create(&sparse)
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    let blob = PushBlob::new(descriptor.clone(), move || {
        Ok(Box::new(std::fs::File::open(&sparse)?))
    });
    let repository = ours.reference("big");
    let (_, before) = memory();
    assert!(client.push_blob(&repository, &blob).await.unwrap());
    assert!(client.blob_exists(&repository, &digest).await.unwrap());
    let counted = client
        .get_blob(&repository, &descriptor, Count(0))
        .await
        .unwrap();
    assert_eq!(counted.0, SIZE);
    let (most, _) = memory();
    let grown = most.saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {} MiB", grown >> 20);
}
