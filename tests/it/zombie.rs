//! A worker that is stopped just before it publishes, and comes back when another has done the job.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use database::{Connect, SystemDb};
use model::{DatabaseRole, JobId};
use queue::Hold;
use serde_json::Value;
use store::Store;
use store::deploys::{DeployReport, NewRevision};

use crate::harness::{
    Answer, Database, Machine, Seen, Sender, Site, Wire, client, pass_on, turn, until,
};

const WITHIN: Duration = Duration::from_secs(40);
/// A short lease, so that the test is short.
const TIMING: [(&str, &str); 3] = [
    ("LEASE_SECS", "3"),
    ("HEARTBEAT_SECS", "1"),
    ("SLICE_SECS", "5"),
];

/// Everything that a late write could change, and what people see.
#[derive(Debug, PartialEq)]
struct Picture {
    page: (StatusCode, String),
    revisions: Vec<Value>,
    log: Vec<Value>,
    outcome: Vec<Value>,
    happened: Vec<Value>,
}

async fn look(machine: &Machine, database: &Database, site: &Site) -> Picture {
    let rows = async |sql: &'static str| -> Vec<Value> {
        sqlx::query_scalar(sql)
            .fetch_all(&database.rows)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    Picture {
        page: Sender::new()
            .page(machine.port(), &site.host)
            .await
            .expect("the site answers"),
        revisions: rows(
            "select to_jsonb(r) || jsonb_build_object('live', w.live_revision = r.id)
             from switchyard.revisions r join switchyard.workloads w on w.id = r.workload_id order by r.number",
        )
        .await,
        log: rows("select to_jsonb(l) from switchyard.job_logs l order by job_id, epoch, seq").await,
        outcome: rows("select to_jsonb(a) from switchyard.jobs_archive a order by id").await,
        happened: rows("select to_jsonb(e) from switchyard.job_events e order by id").await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_past_its_lease_changes_nothing_and_is_told() {
    let _turn = turn().await;
    let mut machine = Machine::new();
    // Whoever answers under the name of the Service.
    let worker: Arc<Mutex<String>> = Arc::default();
    let wire = {
        let (worker, http) = (Arc::clone(&worker), client());
        Wire::listen(move |event: Seen| {
            let (to, http) = (
                worker.lock().expect("nobody panicked").clone(),
                http.clone(),
            );
            async move {
                // A wake-up whose worker does not answer is no work lost.
                let status = pass_on(&http, &to, &event).await;
                Answer::status(status.unwrap_or(StatusCode::BAD_GATEWAY))
            }
        })
        .await
    };
    machine.subscribe("task-static", &wire.url("/"));
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "zombie").await;

    let roots = machine.repositories().display().to_string();
    let pauses = [machine.path("pause-first"), machine.path("pause-second")];
    let mut workers = Vec::new();
    for pause in &pauses {
        std::fs::write(pause, "").expect("a file");
        let pause = pause.display().to_string();
        let mut settings = TIMING.to_vec();
        settings.push(("STATIC_LOCAL_ROOTS", &roots));
        settings.push(("SWITCHYARD_PAUSE_BEFORE_FINISH", &pause));
        workers.push(machine.function("task-static", &settings).await);
    }
    let reached = async |pause: &std::path::Path| {
        let reached = pause.with_file_name(format!(
            "{}.reached",
            pause
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
        ));
        until(&format!("{}", reached.display()), WITHIN, || async {
            reached.exists().then_some(())
        })
        .await;
    };

    // The first worker has rendered the first page and is about to publish it.
    worker
        .lock()
        .expect("nobody panicked")
        .clone_from(&workers[0].1);
    let first = site.push("the first page", "1");
    Sender::new()
        .deliver(&machine.webhook(site.trigger), &first, WITHIN)
        .await;
    reached(&pauses[0]).await;
    let zombie = &workers[0].0;
    zombie.stop();
    std::fs::remove_file(&pauses[0]).expect("the pause");

    // Meanwhile the branch moves on, the lease ends, and the second worker takes the job and is about to publish.
    let second = site.repository.commit("the second page");
    worker
        .lock()
        .expect("nobody panicked")
        .clone_from(&workers[1].1);
    reached(&pauses[1]).await;
    let (job, epoch): (i64, i64) =
        sqlx::query_as("select id, epoch from switchyard.jobs where state = 'running'")
            .fetch_one(&database.rows)
            .await
            .expect("the second worker has the job");
    assert_eq!(epoch, 2);
    // What the first worker may have had on the wire when it was stopped arrives now.
    assert_eq!(
        late_write(&machine, &site, job, &first.after).await,
        DeployReport::Stale
    );
    let told = database
        .count(
            "select count(*) from switchyard.job_events
             where kind = 'stale_write' and epoch = 1 and data = '{\"current_epoch\": 2}'",
        )
        .await;
    assert_eq!(told, 1, "the late write is on record");
    assert_eq!(database.live(&site).await, None, "nothing was published");

    std::fs::remove_file(&pauses[1]).expect("the pause");
    until("the second worker has finished", WITHIN, || async {
        database.live(&site).await
    })
    .await;
    until("it has said all it has to say", WITHIN, || async {
        workers[1].0.said().contains("\"ended\"").then_some(())
    })
    .await;
    let before = look(&machine, &database, &site).await;
    assert!(
        before.page.1.contains("the second page"),
        "{:?}",
        before.page
    );
    assert_eq!(before.revisions.len(), 1);
    assert_eq!(before.revisions[0]["commit"], second.after.as_str());
    assert_eq!(before.outcome.len(), 1);

    zombie.go_on();
    let said = until("the first worker has come to its end", WITHIN, || async {
        let said = zombie.said();
        said.contains("\"ended\"").then_some(said)
    })
    .await;
    assert!(
        said.contains("the lease is over; the attempt was dropped and writes nothing")
            || said.contains("somebody else holds the job; nothing was recorded")
            || said.contains("the hold is over and nothing was changed"),
        "it was not told:\n{said}"
    );
    // Also after the job has gone to the archive.
    assert_eq!(
        late_write(&machine, &site, job, &first.after).await,
        DeployReport::Stale
    );
    assert_eq!(look(&machine, &database, &site).await, before);
}

/// What the first worker's last statement would have been.
async fn late_write(machine: &Machine, site: &Site, job: i64, commit: &str) -> DeployReport {
    let db = SystemDb::new(&Connect {
        url: machine.database_url().into(),
        role: DatabaseRole::System,
        connections_max: 1,
        acquire_timeout: WITHIN,
    })
    .expect("a URL");
    let revision = NewRevision {
        workload: site.workload,
        asked_commit: Some(commit),
        commit,
        prefix: "sites/late/late",
        content_hash: &"0".repeat(64),
        files: 1,
        bytes: 1,
        warnings: &[],
    };
    let hold = Hold {
        job: JobId(job),
        epoch: 1,
    };
    Store::new(db)
        .finish_deploy(hold, &revision)
        .await
        .expect("the database answers")
}
