//! `cron-notify` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(cron_notify::FUNCTION)
}
