//! Measures unpacking a generated layer: `unpack_bench [FILES] [BYTES A FILE]`.
//!
//! Not a test: times depend on the machine. Run it in release mode, as root.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use tbuild_digest::DiffId;
use tbuild_store::Store as _;
use tbuild_store_local::{LocalStore, remove_tree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let files = arguments.next().transpose()?.unwrap_or(10_000);
    let size = arguments.next().transpose()?.unwrap_or(4_000);
    let mut tar = tar::Builder::new(Vec::new());
    let content = vec![b'x'; size];
    for number in 0..files {
        let mut header = tar::Header::new_ustar();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(
            &mut header,
            format!("d{}/f{number}", number / 50),
            content.as_slice(),
        )?;
    }
    let tar = tar.into_inner()?;
    let folder = tempfile::tempdir()?;
    let store = LocalStore::open(folder.path())?;
    let start = Instant::now();
    store.put_blob(&tar)?;
    println!("put_blob of {} bytes: {:?}", tar.len(), start.elapsed());
    let start = Instant::now();
    let path = store.ensure_snapshot(&DiffId::of(&tar))?;
    println!("ensure_snapshot of {files} files: {:?}", start.elapsed());
    let start = Instant::now();
    store.ensure_snapshot(&DiffId::of(&tar))?;
    println!("again (and hashing the tar once): {:?}", start.elapsed());
    let start = Instant::now();
    remove_tree(&path)?;
    println!("remove_tree: {:?}", start.elapsed());
    Ok(())
}
