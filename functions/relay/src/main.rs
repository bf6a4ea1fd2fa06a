//! `relay` as a process of its own, for Knative.

fn main() -> std::process::ExitCode {
    host::main(relay::FUNCTION)
}
