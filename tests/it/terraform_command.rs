//! `switchyard run terraform ./dir` as people use it, with the real terraform: planned, asked about, applied, stopped, destroyed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Installation, Process, turn, until};
use crate::outside::terraform_is_there;

/// How long a command may take, on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const MAIN: &str = r#"
variable "name" {
  type    = string
  default = "world"
}
variable "wait" {
  type    = number
  default = 0
}
resource "terraform_data" "hello" {
  input = "hello ${var.name}"
}
resource "terraform_data" "slow" {
  count = var.wait == 0 ? 0 : 1
  provisioner "local-exec" {
    command = "echo it begins; sleep ${var.wait}"
  }
}
output "hello" {
  value = terraform_data.hello.output
}
"#;

/// A command that was run to its end.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

struct World {
    it: Installation,
    folder: PathBuf,
}

impl World {
    async fn new() -> Self {
        let it = Installation::new().await;
        // Runs have users of their own, who pass through.
        use std::os::unix::fs::PermissionsExt as _;
        let passage = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(it.folder(), passage).expect("our folder");
        let folder = it.folder().join("infra");
        std::fs::create_dir(&folder).expect("our folder");
        std::fs::write(folder.join("main.tf"), MAIN).expect("our folder");
        Self { it, folder }
    }

    fn terraform(&self, folder: &Path, more: &[&str]) -> Command {
        let folder = folder.to_str().expect("our folders are text");
        let arguments: Vec<&str> = ["run", "terraform", folder]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        self.it.command(&arguments)
    }

    fn run(&self, more: &[&str]) -> Ran {
        ended(self.terraform(&self.folder, more))
    }

    /// The same at a terminal, where somebody types this line when they are asked.
    fn run_at_a_terminal(&self, types: &str) -> Ran {
        let arguments = [
            Process::program().display().to_string(),
            "run".to_owned(),
            "terraform".to_owned(),
            self.folder.display().to_string(),
            "--data-dir".to_owned(),
            self.it.folder().display().to_string(),
        ];
        let mut command = Command::new("script");
        command
            .args(["-qec", &arguments.join(" "), "/dev/null"])
            .env("DATABASE_URL", self.it.database_url())
            .env("NO_COLOR", "1")
            .env_remove("XDG_DATA_HOME");
        // What is typed before anybody asks is read when somebody does.
        let typed = self.it.folder().join("typed");
        std::fs::write(&typed, format!("{types}\n")).expect("our folder");
        command.stdin(std::fs::File::open(typed).expect("our file"));
        ended(command)
    }

    async fn newest_job(&self) -> i64 {
        sqlx::query_scalar("select max(id) from switchyard.jobs")
            .fetch_one(self.it.rows())
            .await
            .expect("the jobs can be read")
    }

    /// A run in its slow provisioner, and its job.
    async fn in_mid_apply(&self) -> (Child, i64) {
        let mut command = self.terraform(&self.folder, &["--approve", "--var", "wait=60"]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let job = until("the provisioner to begin", WITHIN, async || {
            sqlx::query_scalar(
                "select job_id from switchyard.job_logs l
                 where line like '%(local-exec): it begins%' and exists (select from switchyard.jobs j where j.id = l.job_id)",
            )
            .fetch_optional(self.it.rows())
            .await
            .expect("the log can be read")
        })
        .await;
        (child, job)
    }
}

/// Waits for the end of a command, and ends it when that does not come.
fn ended(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    wait(child.spawn().expect("the program starts"))
}

fn wait(child: Child) -> Ran {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("an id");
    let end = Instant::now() + WITHIN;
    // Both are read to their end by somebody else, so that nothing waits for a pipe that is full.
    let reading = std::thread::spawn(move || child.wait_with_output());
    while !reading.is_finished() {
        if Instant::now() >= end {
            kill_process(pid, Signal::KILL).expect("our child");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let output: Output = reading
        .join()
        .expect("it only waits")
        .expect("its output can be read");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ran = Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(
        Instant::now() < end,
        "it did not end: {}{}",
        ran.out,
        ran.err
    );
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_planned_asked_about_applied_and_destroyed() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;

    // A plan waits for nobody, and nothing comes of it.
    let ran = world.run(&["--action", "plan"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("terraform_data.hello will be created")
            && ran
                .out
                .contains("Plan: 1 to add, 0 to change, 0 to destroy."),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("succeeded"), "{}", ran.err);

    // What is wrong is said as terraform says it, and a job that is dead is not to be stopped.
    let bad = world.it.folder().join("bad");
    std::fs::create_dir(&bad).expect("our folder");
    let text = "resource \"terraform_data\" \"x\" {\n  input = var.nothing\n}\n";
    std::fs::write(bad.join("main.tf"), text).expect("our folder");
    let ran = ended(world.terraform(&bad, &["--approve"]));
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let told = "Error: Reference to undeclared input variable";
    assert!(
        ran.out.contains(told) && ran.out.contains("on main.tf line 2"),
        "{}",
        ran.out
    );
    assert!(
        ran.err.contains("dead: plan ended with exit code 1") && !ran.err.contains("to stop it"),
        "{}",
        ran.err
    );

    // At a terminal somebody is asked; only "yes" is one.
    let ran = world.run_at_a_terminal("y");
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(
        ran.out.contains("Apply this plan?") && ran.out.contains("rejected by"),
        "{}",
        ran.out
    );
    let ran = world.run_at_a_terminal("yes");
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(
        ran.out.contains("Outputs:") && ran.out.contains("hello = \"hello world\""),
        "{}",
        ran.out
    );

    // For programs: nothing but JSON, with the plan and how it ended.
    let ran = world.run(&["--approve", "--var", "name=ann", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let told: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let plan = told.iter().find(|it| it.get("plan").is_some());
    let plan = plan.expect("the plan that was approved");
    assert_eq!(plan["plan"]["changes"]["change"], 1, "{plan}");
    assert_eq!(plan["sha256"].as_str().map(str::len), Some(64), "{plan}");
    let end = told.last().expect("lines");
    assert_eq!(end["end"]["state"], "succeeded", "{end}");

    let ran = world.run(&["--approve", "--var", "name=ann"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("No changes to resources."), "{}", ran.out);

    let ran = world.run(&["--action", "destroy", "--approve"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("terraform_data.hello will be destroyed"),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_left_goes_on_until_somebody_stops_it() {
    let _turn = turn().await;
    if !terraform_is_there() {
        return;
    }
    let world = World::new().await;
    let (running, job) = world.in_mid_apply().await;
    let number = job.to_string();
    let mut following = world.it.command(&["logs", "-f", &number]);
    let following = following
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");

    // Ctrl-C leaves it alone and says how to come back.
    let pid = i32::try_from(running.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("an id");
    kill_process(pid, Signal::INT).expect("our child");
    let left = wait(running);
    assert_eq!(left.code, Some(130), "{}{}", left.out, left.err);
    assert!(
        left.err.contains(&format!("switchyard logs -f {job}"))
            && left.err.contains(&format!("switchyard cancel {job}")),
        "{}",
        left.err
    );
    assert_eq!(world.newest_job().await, job, "it is still there");

    let cancelled = ended(world.it.command(&["cancel", &number, "--wait"]));
    assert_eq!(
        cancelled.code,
        Some(0),
        "{}{}",
        cancelled.out,
        cancelled.err
    );
    assert!(
        cancelled.out.contains("1/3 requested") && cancelled.out.contains("3/3 applied"),
        "{}",
        cancelled.out
    );
    let followed = wait(following);
    assert_eq!(followed.code, Some(130), "the job was cancelled");
    assert!(
        followed.out.contains("(local-exec): it begins"),
        "{}",
        followed.out
    );
    // Nothing holds the state, and what was made before is known.
    let ran = world.run(&["--action", "destroy", "--approve"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}
