//! Hooks that come and hooks that do not: a real registry and a real Git server, whose hooks and looks start each change once.

mod registry;

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{TriggerId, TriggerKind};
use store::watch::PlaceKind;
use store::watched::NewWatch;

use crate::harness::{Database, GitServer, Machine, turn, until};
use registry::Registry;

const WITHIN: Duration = Duration::from_secs(40);
const TOKEN: &str = "a token that is only good for tests";

/// A machine whose watchers tick each second.
fn machine(watcher: &str) -> Machine {
    let machine = Machine::new();
    let manifest = format!("triggers/{watcher}.yaml");
    machine.edit(&manifest, "*/15 * * * * *", "* * * * * *");
    machine
}

/// How many jobs a trigger's bindings have started.
async fn started(database: &Database, trigger: TriggerId) -> i64 {
    sqlx::query_scalar(
        "select count(*) from switchyard.decisions d
         join switchyard.events e on e.database_id = d.database_id and e.id = d.event_id
         where e.trigger_id = $1 and d.matched",
    )
    .bind(trigger.uuid())
    .fetch_one(&database.rows)
    .await
    .expect("the database answers")
}

/// Waits until that many jobs have been started and all events were looked at, and says by which kind of vendor they were told.
async fn have_started(database: &Database, trigger: TriggerId, jobs: i64) -> Vec<String> {
    until(&format!("{jobs} jobs of {trigger}"), WITHIN, || async {
        let count = started(database, trigger).await;
        assert!(count <= jobs, "{count} jobs were started instead of {jobs}");
        (count == jobs).then_some(())
    })
    .await;
    sqlx::query_scalar(
        "select e.data ->> 'vendor' from switchyard.events e
         join switchyard.decisions d on d.database_id = e.database_id and d.event_id = e.id
         where e.trigger_id = $1 and d.matched order by e.seq",
    )
    .bind(trigger.uuid())
    .fetch_all(&database.rows)
    .await
    .expect("the database answers")
}

/// Has the place looked at twice, so that a look that began after this was called has ended.
async fn looked(database: &Database) {
    for _ in 0..2 {
        let before: DateTime<Utc> =
            sqlx::query_scalar("update switchyard.places set next_at = now() returning now()")
                .fetch_one(&database.rows)
                .await
                .expect("there is a place");
        until("a look", WITHIN, || async {
            let ended: Option<i64> = sqlx::query_scalar(
                "select look from switchyard.places where looked_at > $1 and problem is null",
            )
            .bind(before)
            .fetch_optional(&database.rows)
            .await
            .expect("the database answers");
            ended
        })
        .await;
    }
}

/// Waits until a look was refused, and says why.
async fn refused(database: &Database) -> String {
    until("a look that is refused", WITHIN, || async {
        sqlx::query_scalar("select problem from switchyard.places where problem is not null")
            .fetch_optional(&database.rows)
            .await
            .expect("the database answers")
    })
    .await
}

fn new_watch<'a>(
    kind: PlaceKind,
    url: &'a str,
    repository: &'a str,
    names: &'a [String],
) -> NewWatch<'a> {
    NewWatch {
        kind,
        url,
        repository,
        credential: None,
        interval_secs: 60,
        report_first: false,
        names,
        by: "Ann",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_tells_and_one_that_does_not_start_each_push_once() {
    if !Registry::is_installed() {
        return;
    }
    let _turn = turn().await;
    let mut machine = machine("cron-registries");
    let folder = machine.path("registry");
    let mut registry = Registry::new(&folder);
    let certificate = registry.certificate().display().to_string();
    machine.set(
        "knative/cron-registries.yaml",
        "EGRESS_CA_FILE",
        &certificate,
    );
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "images").await;
    site.repository.commit("a page");
    let trigger = database
        .bound(&site, TriggerKind::Registry, "image pushes", TOKEN)
        .await;
    let (url, names) = (registry.url(), ["*".to_owned()]);
    let watch = new_watch(PlaceKind::Registry, &url, "team/app", &names);
    database.watch(trigger, watch).await;
    let hook = format!(
        "http://127.0.0.1:{}/webhook-registry/{trigger}",
        machine.port()
    );
    registry.start(Some((&hook, TOKEN))).await;

    // Nobody allowed it: it is not called.
    let why = refused(&database).await;
    assert!(
        why.starts_with("egress denied: localhost leads to a loopback address"),
        "{why}"
    );
    machine.kill();
    let authority = registry.authority();
    machine.set("knative/cron-registries.yaml", "EGRESS_ALLOW", &authority);
    machine.start().await;

    // The registry tells of it by itself, and looks find nothing new. Before there is anything to see the first look fails.
    registry.push("one", "v1");
    assert_eq!(have_started(&database, trigger, 1).await, ["distribution"]);
    looked(&database).await;
    assert_eq!(started(&database, trigger).await, 1);

    // Its hook is unplugged: another image under the tag, a new tag, and the first image again.
    registry.stop();
    registry.start(None).await;
    registry.push("two", "v1");
    looked(&database).await;
    assert_eq!(
        have_started(&database, trigger, 2).await,
        ["distribution", "poll"]
    );
    registry.push("two", "v2");
    looked(&database).await;
    have_started(&database, trigger, 3).await;
    registry.push("one", "v1");
    looked(&database).await;
    let told = have_started(&database, trigger, 4).await;
    assert_eq!(told, ["distribution", "poll", "poll", "poll"]);
    looked(&database).await;
    assert_eq!(started(&database, trigger).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_hook_tells_and_one_whose_does_not_start_once_each() {
    let _turn = turn().await;
    let mut machine = machine("cron-refs");
    let server = GitServer::serve(&machine.repositories()).await;
    let certificate = server.certificate().display().to_string();
    machine.set("knative/cron-refs.yaml", "EGRESS_CA_FILE", &certificate);
    machine.start().await;
    let database = machine.database().await;
    let site = database.site(&machine.repositories(), "pushed").await;
    site.repository.commit("a page");
    let trigger = database
        .bound(&site, TriggerKind::Git, "pushes", TOKEN)
        .await;
    let hook = format!(
        "http://127.0.0.1:{}/webhook-generic/{trigger}",
        machine.port()
    );
    let clone = server.clone_of(&site.repository, &machine.path("clone"));
    let url = server.url(&site.repository);
    let names = ["refs/heads/**".to_owned(), "refs/tags/**".to_owned()];
    database
        .watch(trigger, new_watch(PlaceKind::Git, &url, "", &names))
        .await;

    // Nobody allowed it: it is not called.
    let why = refused(&database).await;
    assert!(
        why.starts_with("egress denied: localhost leads to a loopback address"),
        "{why}"
    );
    machine.kill();
    machine.set(
        "knative/cron-refs.yaml",
        "EGRESS_ALLOW",
        &server.authority(),
    );
    machine.start().await;
    // What was there at the first look starts nothing.
    looked(&database).await;
    assert_eq!(started(&database, trigger).await, 0);

    // The hook tells of it, and looks find nothing new.
    site.repository.post_receive(&hook, TOKEN);
    clone.push("the second page");
    assert_eq!(have_started(&database, trigger, 1).await, ["generic"]);
    looked(&database).await;
    assert_eq!(started(&database, trigger).await, 1);

    // The hook is gone.
    site.repository.remove_post_receive();
    let pushed = clone.push("the third page");
    looked(&database).await;
    assert_eq!(
        have_started(&database, trigger, 2).await,
        ["generic", "poll"]
    );
    let told: String = sqlx::query_scalar(
        "select data ->> 'after' from switchyard.events where data ->> 'vendor' = 'poll'",
    )
    .fetch_one(&database.rows)
    .await
    .expect("an event");
    assert_eq!(told, pushed);

    // Somebody delivers by hand what the hook missed: it is told, and starts nothing more.
    site.repository.deliver_by_hand(&hook, TOKEN, &pushed);
    let clause: String = until("the late delivery's decision", WITHIN, || async {
        sqlx::query_scalar("select clause from switchyard.decisions where clause = 'seen'")
            .fetch_optional(&database.rows)
            .await
            .expect("the database answers")
    })
    .await;
    assert_eq!(clause, "seen");
    assert_eq!(started(&database, trigger).await, 2);
}
