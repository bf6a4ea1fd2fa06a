use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use host::Resources;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::PgPool;
use store::Keyring;
use tempfile::NamedTempFile;
use testkit::{Https, TestDb};
use uuid::Uuid;

use super::*;

/// What the server's `main` is at; or what it answers instead of its refs.
#[derive(Default)]
struct Double {
    head: Mutex<String>,
    /// An annotated tag: its object and the commit that it names.
    tag: Mutex<Option<(String, String)>>,
    refuses: Mutex<Option<(StatusCode, &'static str)>>,
    authorization: Mutex<Option<String>>,
}

impl Double {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let shown = headers.get("authorization");
        let shown = shown
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        *self.authorization.lock().expect("no test panics here") = shown;
        if let Some((status, after)) = *self.refuses.lock().expect("no test panics here") {
            return (status, [("retry-after", after)]).into_response();
        }
        let head = self.head.lock().expect("no test panics here").clone();
        let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
        let mut refs = line(&format!("{head} refs/heads/main\0side-band\n"));
        if let Some((object, commit)) = &*self.tag.lock().expect("no test panics here") {
            refs += &line(&format!("{object} refs/tags/v1\n"));
            refs += &line(&format!("{commit} refs/tags/v1^{{}}\n"));
        }
        (line("# service=git-upload-pack\n") + "0000" + &refs + "0000").into_response()
    }
}

/// The function on a database, with a trigger that watches the double's repository and has one binding.
struct Served {
    router: Router,
    rows: PgPool,
    tenant: Uuid,
    keyring: Keyring,
    double: Arc<Double>,
    url: String,
    _https: Https,
    _key: NamedTempFile,
    _db: TestDb,
}

impl Served {
    async fn new() -> Self {
        let double = Arc::new(Double::default());
        let answer = {
            let double = Arc::clone(&double);
            move |headers: HeaderMap| async move { double.answer(&headers) }
        };
        let https = Https::serve(Router::new().fallback(answer)).await;
        let db = testkit::database().await;
        let rows = db.pool(None).await;
        let key = Keyring::generate();
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.expose_secret()).expect("a file");
        let env = Env::default()
            .with("DATABASE_URL", db.owner_url())
            .with("DATABASE_ACQUIRE_TIMEOUT_SECS", "60")
            .with("MASTER_KEY_FILE", file.path().to_str().expect("a path"))
            .with("EGRESS_ALLOW", https.authority())
            .with(
                "EGRESS_CA_FILE",
                https.certificate().to_str().expect("a path"),
            );
        let resources = Resources::new().expect("an HTTP client");
        let mounted = FUNCTION.mount(&env, &resources).expect("good settings");
        let it = Self {
            router: mounted.router,
            rows,
            tenant: Uuid::new_v4(),
            keyring: Keyring::from_base64(&key).expect("a key"),
            double,
            url: format!("{}/acme/site.git", https.url()),
            _https: https,
            _key: file,
            _db: db,
        };
        for sql in [
            "insert into switchyard.tenants values ($T, 'acme')",
            "insert into switchyard.workloads (id, database_id, name, source, config, host)
             values ($T, $T, 'docs', 'static', '{}', 'docs')",
            "insert into switchyard.triggers (id, database_id, name, kind, secret) values ($T, $T, 'push', 'git', 'x')",
            "insert into switchyard.bindings (id, database_id, trigger_id, workload_id) values ($T, $T, $T, $T)",
            "insert into switchyard.places (id, database_id, kind, url) values ($T, $T, 'git', '$U')",
            "insert into switchyard.watches (database_id, trigger_id, place_id, names, created_by)
             values ($T, $T, $T, '{refs/heads/**,refs/tags/**}', 'me')",
        ] {
            it.run(sql).await;
        }
        it
    }

    async fn run(&self, sql: &str) {
        let sql = sql
            .replace("$T", &format!("'{}'", self.tenant))
            .replace("$U", &self.url);
        sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .execute(&self.rows)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Moves the branch.
    fn at(&self, letter: char) {
        *self.double.head.lock().expect("no test panics here") = commit(letter);
    }

    /// Has the repository looked at now, and what was found dispatched.
    async fn look(&self) {
        self.run("update switchyard.places set next_at = now()")
            .await;
        self.tick().await;
        self.dispatch().await;
    }

    async fn tick(&self) {
        assert_eq!(testkit::tick(&self.router).await, StatusCode::ACCEPTED);
    }

    /// Tags a commit with an object of its own.
    fn tag(&self, object: char, names: char) {
        let tag = Some((commit(object), commit(names)));
        *self.double.tag.lock().expect("no test panics here") = tag;
    }

    /// A hook tells that the branch is somewhere.
    async fn hook(&self, letter: char) {
        let data = json!({
            "vendor": "gitea", "repository": {"path": "acme/site"}, "ref_name": "refs/heads/main",
            "branch": "main", "before": null, "after": commit(letter),
            "changed_paths": {"are": "unknown", "reason": "test"},
        });
        self.add("dev.switchyard.git.pushed.v1", &data).await;
    }

    /// A hook tells that the tag is something.
    async fn tag_hook(&self, letter: char) {
        let data = json!({
            "vendor": "bitbucket", "repository": {"path": "acme/site"}, "ref_name": "refs/tags/v1", "tag": "v1",
            "before": null, "after": commit(letter),
        });
        self.add("dev.switchyard.git.tagged.v1", &data).await;
    }

    async fn add(&self, ty: &str, data: &serde_json::Value) {
        sqlx::query(
            "select switchyard.add_event($1, $1, gen_random_uuid(), $3, '/hook', null, $2::text::json)",
        )
        .bind(self.tenant)
        .bind(data.to_string())
        .bind(ty)
        .execute(&self.rows)
        .await
        .expect("an event");
        self.dispatch().await;
    }

    /// What dispatch does with the events that wait, where the one binding matches all.
    async fn dispatch(&self) {
        sqlx::query(
            "select switchyard.record_decisions_once(e.id, jsonb_build_array(jsonb_build_object(
                'binding', $1::uuid, 'held', '[]'::jsonb, 'task', 'task-static', 'payload', '{}'::jsonb, 'workload', $1::uuid
             )))
             from (select id from switchyard.events where dispatched_at is null order by seq) e",
        )
        .bind(self.tenant)
        .execute(&self.rows)
        .await
        .expect("decisions");
    }

    /// What each event of the branch started: who told it, where it is, and whether a job was made.
    async fn told(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select format('%s %s %s', e.data ->> 'vendor', left(e.data ->> 'after', 1), coalesce(d.clause, 'job'))
             from switchyard.events e
             join switchyard.decisions d on d.database_id = e.database_id and d.event_id = e.id
             order by e.seq",
        )
        .fetch_all(&self.rows)
        .await
        .expect("rows")
    }

    async fn problem(&self) -> (Option<String>, i32, f64) {
        sqlx::query_as(
            "select problem, failures, extract(epoch from next_at - now())::float8 from switchyard.places",
        )
        .fetch_one(&self.rows)
        .await
        .expect("a place")
    }
}

fn commit(letter: char) -> String {
    letter.to_string().repeat(40)
}

#[tokio::test]
async fn a_push_that_both_see_starts_one_job_whoever_sees_it_first() {
    let it = Served::new().await;
    it.at('a');
    it.look().await;
    assert!(it.told().await.is_empty(), "what was there starts nothing");
    it.at('b');
    it.hook('b').await;
    it.look().await;
    assert_eq!(it.told().await, ["gitea b job"]);
    it.at('c');
    it.look().await;
    it.hook('c').await;
    assert_eq!(
        it.told().await,
        ["gitea b job", "poll c job", "gitea c seen"]
    );
    it.look().await;
    it.hook('c').await;
    assert_eq!(
        it.told().await.last().map(String::as_str),
        Some("gitea c job"),
        "what a hook tells again is a push again"
    );
}

#[tokio::test]
async fn a_tag_that_both_see_starts_one_job_by_whichever_of_its_names_it_is_told() {
    let it = Served::new().await;
    it.at('a');
    it.look().await;
    it.tag('b', 'a');
    it.look().await;
    it.tag_hook('a').await;
    it.look().await;
    assert_eq!(it.told().await, ["poll b job", "bitbucket a seen"]);
    it.tag('c', 'd');
    it.tag_hook('d').await;
    it.look().await;
    it.tag('e', 'f');
    it.look().await;
    it.tag_hook('e').await;
    it.look().await;
    assert_eq!(
        it.told().await[2..],
        ["bitbucket d job", "poll e job", "bitbucket e seen"]
    );
}

#[tokio::test]
async fn an_event_of_each_that_wait_together_start_one_job() {
    let it = Served::new().await;
    it.at('a');
    it.look().await;
    it.at('b');
    // The look finds it before the hook's event is dispatched, and again before its own is.
    it.run("update switchyard.places set next_at = now()").await;
    it.tick().await;
    it.run("update switchyard.places set next_at = now()").await;
    it.tick().await;
    it.hook('b').await;
    assert_eq!(it.told().await, ["poll b job", "gitea b seen"]);
}

#[tokio::test]
async fn what_comes_back_is_told_each_time() {
    let it = Served::new().await;
    it.at('a');
    it.look().await;
    for letter in ['b', 'a', 'b'] {
        it.at(letter);
        it.look().await;
        it.look().await;
    }
    assert_eq!(it.told().await, ["poll b job", "poll a job", "poll b job"]);
}

#[tokio::test]
async fn what_no_hook_told_in_time_is_written_down_once() {
    let it = Served::new().await;
    it.at('a');
    it.look().await;
    it.at('b');
    it.look().await;
    it.run("update switchyard.seen set at = now() - interval '11 minutes'")
        .await;
    it.tick().await;
    it.tick().await;
    let said: Vec<String> =
        sqlx::query_scalar("select severity || ': ' || message from switchyard.event_log")
            .fetch_all(&it.rows)
            .await
            .expect("rows");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0]
            .starts_with("warning: the hook of trigger push is silent: refs/heads/main is at bbb"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_look_that_fails_says_why_and_waits_ever_longer_or_as_it_is_told() {
    let it = Served::new().await;
    let refuse = |with| *it.double.refuses.lock().expect("no test panics here") = with;
    refuse(Some((StatusCode::UNAUTHORIZED, "")));
    it.look().await;
    let (problem, failures, wait) = it.problem().await;
    let problem = problem.expect("it says why");
    assert!(
        problem.contains("answered 401") && problem.contains("credential"),
        "{problem}"
    );
    assert_eq!(failures, 1);
    assert!((290.0..=310.0).contains(&wait), "{wait}");
    it.look().await;
    let (_, _, wait) = it.problem().await;
    assert!((590.0..=610.0).contains(&wait), "{wait}");
    refuse(Some((StatusCode::TOO_MANY_REQUESTS, "7200")));
    it.look().await;
    let (_, _, wait) = it.problem().await;
    assert!((7_190.0..=7_210.0).contains(&wait), "{wait}");
    refuse(None);
    it.at('a');
    it.look().await;
    let (problem, failures, _) = it.problem().await;
    assert_eq!((problem, failures), (None, 0));
}

#[tokio::test]
async fn a_credential_is_shown_to_its_host_alone() {
    let it = Served::new().await;
    it.at('a');
    let host = it
        .url
        .trim_start_matches("https://")
        .split('/')
        .next()
        .expect("a host")
        .to_owned();
    let slot = |id| store::Slot {
        tenant: it.tenant.into(),
        column: "credentials.secret",
        row: id,
    };
    let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (id, host) in [(own, host.as_str()), (other, "elsewhere.test")] {
        sqlx::query(
            "insert into switchyard.credentials (id, database_id, name, host, secret) values ($1, $2, $3, $3, $4)",
        )
        .bind(id)
        .bind(it.tenant)
        .bind(host)
        .bind(it.keyring.seal(slot(id), b"s3cret"))
        .execute(&it.rows)
        .await
        .expect("a credential");
    }
    it.run(&format!(
        "update switchyard.places set credential_id = '{own}'"
    ))
    .await;
    it.look().await;
    let shown = it
        .double
        .authorization
        .lock()
        .expect("no test panics here")
        .take();
    // `x-access-token:s3cret`.
    assert_eq!(shown.as_deref(), Some("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"));
    it.run(&format!(
        "update switchyard.places set credential_id = '{other}'"
    ))
    .await;
    it.look().await;
    assert_eq!(
        *it.double.authorization.lock().expect("no test panics here"),
        None
    );
    let (problem, _, _) = it.problem().await;
    assert_eq!(
        problem.as_deref(),
        Some("the credential is for elsewhere.test")
    );
}
