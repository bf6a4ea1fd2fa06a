//! `webhook-any` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(webhook_any::FUNCTION)
}
