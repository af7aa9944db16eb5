//! Measures scans of a generated folder: `scan_bench [FILES] [FILES PER FOLDER] [THREADS] [FOLDER]`. The
//! folder is made below FOLDER unless it is there from the last time; without FOLDER, in a temporary one.
//!
//! Not a test: times depend on the machine. Run it in release mode.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tbuild_digest::Sha256;
use tbuild_store_local::{LocalStore, Modes, Scan, ScanError, Verdict, scan};

const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: usize| {
        let text = arguments.get(at);
        text.map_or(Ok(otherwise), |text| text.parse::<usize>())
    };
    let (files, per_folder, threads) = (number(0, 10_000)?, number(1, 50)?, number(2, 2)?);
    let folder = tempfile::tempdir()?;
    let base = arguments
        .get(3)
        .map_or(folder.path(), |path| Path::new(path));
    let root = base.join(format!("{files}-{per_folder}"));
    let wanted = if root.exists() { 0 } else { files };
    for number in 0..wanted {
        let parent = number / per_folder;
        let path = root.join(format!("module-{}/part-{parent}", parent % 20));
        if number % per_folder == 0 {
            fs::create_dir_all(&path)?;
        }
        fs::write(
            path.join(format!("source-file-{number}.py")),
            vec![b'x'; number % 8000],
        )?;
    }
    let store = LocalStore::open(&folder.path().join("store"))?;
    let run = |store: &LocalStore| keep_all(store, &root, threads);
    let cold = time(|| run(&store))?;
    std::thread::sleep(Duration::from_millis(60));
    run(&store)?;
    let cpu = cpu_time();
    let unchanged = best(|| time(|| run(&store)))?;
    let cpu = cpu_time().saturating_sub(cpu) / ROUNDS as u32;
    let edited = best(|| {
        fs::write(
            root.join("module-0/part-0/source-file-0.py"),
            format!("{:?}", Instant::now()),
        )?;
        time(|| run(&store))
    })?;
    let reopened = best(|| {
        let start = Instant::now();
        LocalStore::open(store.path())?;
        Ok(start.elapsed())
    })?;
    let last = run(&store)?;
    let digest = best(|| {
        let start = Instant::now();
        std::hint::black_box(last.tree.digest());
        Ok(start.elapsed())
    })?;
    println!("{files} files, {per_folder} a folder, {threads} threads");
    println!("  cold            {cold:?}");
    println!("  unchanged       {unchanged:?} ({cpu:?} of all processors together)");
    println!("  one edited      {edited:?}");
    println!("  opening a store {reopened:?}");
    println!("  Tree::digest    {digest:?} (saved by the cache)");
    Ok(())
}

/// Tells on a busy machine what the wall clock does not.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn keep_all(store: &LocalStore, root: &Path, threads: usize) -> Result<Scan, ScanError> {
    scan(
        store,
        root,
        &Sha256::of(b"all"),
        &|_, _| Verdict::Keep,
        Modes::Kept,
        threads,
    )
}

fn time<T, E: Into<Box<dyn std::error::Error>>>(
    run: impl FnOnce() -> Result<T, E>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let value = run().map_err(Into::into)?;
    let elapsed = start.elapsed();
    drop(value);
    Ok(elapsed)
}

fn best(
    mut run: impl FnMut() -> Result<Duration, Box<dyn std::error::Error>>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        best = best.min(run()?);
    }
    Ok(best)
}
