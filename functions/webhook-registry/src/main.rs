//! `webhook-registry` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(webhook_registry::FUNCTION)
}
