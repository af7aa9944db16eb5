//! The helper alone, for this crate's tests; tbuild itself is its own helper.

fn main() -> std::process::ExitCode {
    tbuild_sandbox::helper_main()
}
