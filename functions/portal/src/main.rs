//! The function `portal` as a process of its own.

fn main() -> std::process::ExitCode {
    host::main(portal::FUNCTION)
}
