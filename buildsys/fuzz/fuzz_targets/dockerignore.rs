#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tbuild_fuzz::dockerignore::check(bytes));
