#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tbuild_fuzz::tbuild_toml::check(bytes));
