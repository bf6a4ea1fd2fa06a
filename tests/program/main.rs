//! The program as it is shipped, built together with the tests that run it: what they start is what they were compiled with.

fn main() -> std::process::ExitCode {
    bundle::cli::main()
}
