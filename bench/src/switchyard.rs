//! `switchyard`, as the workspace builds it.

fn main() -> std::process::ExitCode {
    bundle::cli::main()
}
