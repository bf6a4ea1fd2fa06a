//! `task-clabernetes` as a process of its own, for Knative or AWS Lambda.

fn main() -> std::process::ExitCode {
    host::main(task_clabernetes::FUNCTION)
}
