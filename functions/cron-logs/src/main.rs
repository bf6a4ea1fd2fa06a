//! `cron-logs` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(cron_logs::FUNCTION)
}
