//! `task-netlab` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(task_netlab::FUNCTION)
}
