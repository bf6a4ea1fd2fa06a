//! `cron-workspaces` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(cron_workspaces::FUNCTION)
}
