//! What people do to queues, tasks and dead jobs through the API: what each role may, and that it stays in the tenant.

use queue::{Ended, Finish, Hold, Queue};

use super::*;

impl Served {
    /// Signs somebody in who has this role in a tenant.
    pub(super) async fn person(&self, tenant: &str, role: Role) -> String {
        let mut owner = self.rows.acquire().await.expect("a connection");
        let name = format!("{tenant} {}", role.as_str());
        let (_, person) = people::ensure_member(&mut owner, tenant, &name, role)
            .await
            .expect("a member");
        let link = people::create_sign_in_link(&mut owner, person)
            .await
            .expect("a link");
        let tenants = TenantDb::new(&connect(&self._db, DatabaseRole::Tenant)).expect("a URL");
        let session = people::open_session(&tenants, &link)
            .await
            .expect("an answer");
        session.expect("a session").expose().to_owned()
    }

    pub(super) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.expect("a router always answers");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let json = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).expect("JSON")
        };
        (status, json)
    }

    fn queue(&self) -> Queue {
        Queue::new(SystemDb::new(&connect(&self._db, DatabaseRole::System)).expect("a URL"))
    }

    async fn tenant_id(&self, name: &str) -> TenantId {
        let id: uuid::Uuid =
            sqlx::query_scalar("select database_id from switchyard.tenants where name = $1")
                .bind(name)
                .fetch_one(&self.rows)
                .await
                .expect("a tenant");
        id.into()
    }

    /// Adds jobs of a task to a tenant and, where they are to be dead, lets them die.
    async fn jobs(&self, tenant: &str, task: &str, count: i32, dead: bool) -> Vec<i64> {
        let tenant = self.tenant_id(tenant).await;
        let queue = self.queue();
        let payload = json!({});
        let mut ids = Vec::new();
        for _ in 0..count {
            let job = queue::NewJob::new(tenant, task, &payload);
            ids.push(queue.add(&job).await.expect("a job").job().0);
        }
        if dead {
            for hold in self.claim(task, count).await {
                let end = Finish {
                    hold,
                    ended: Ended::Dead,
                    reason: Some("the vendor is down".to_owned()),
                    result: None,
                };
                queue.finish(&[end]).await.expect("an end");
            }
        }
        ids
    }

    async fn claim(&self, task: &str, count: i32) -> Vec<Hold> {
        let lease = std::time::Duration::from_secs(60);
        let claimed = self
            .queue()
            .claim(uuid::Uuid::new_v4(), &[task.to_owned()], count, lease)
            .await
            .expect("jobs");
        claimed.iter().map(|job| job.hold).collect()
    }
}

#[tokio::test]
async fn a_queue_is_paused_drained_and_resumed_by_an_operator() {
    let it = served().await;
    let operator = it.person("acme", Role::Operator).await;
    it.jobs("acme", "task", 2, false).await;
    let wanted = json!({"kind": "pause", "task": "task", "why": "it floods"});
    let (status, made) = it.send(&operator, "POST", "/pauses", wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert!(it.claim("task", 5).await.is_empty());
    let (_, task) = it.get(&it.acme.token, "/tasks/task").await;
    assert_eq!((&task["ready"], &task["paused"]), (&json!(2), &json!(true)));
    assert_eq!(task["pauses"][0]["by"], "acme operator");
    assert_eq!(task["pauses"][0]["why"], "it floods");
    // Another tenant neither sees nor lifts it.
    let stranger = it.person("umbra", Role::Admin).await;
    let path = format!("/pauses/{}", made["id"]);
    let (_, theirs) = it.get(&stranger, "/pauses").await;
    assert_eq!(theirs["items"], json!([]));
    assert_eq!(problem(&it.get(&stranger, &path).await), (404, "not-found"));
    let refused = it.send(&stranger, "DELETE", &path, json!({})).await;
    assert_eq!(problem(&refused), (404, "not-found"));

    let (status, _) = it
        .send(&operator, "DELETE", &path, json!({"why": "calm"}))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let again = it.send(&operator, "DELETE", &path, json!({})).await;
    assert_eq!(problem(&again), (404, "not-found"));
    assert_eq!(it.claim("task", 1).await.len(), 1);

    let wanted = json!({"kind": "drain", "task": "task"});
    let (_, made) = it.send(&operator, "POST", "/pauses", wanted).await;
    let (_, drain) = it.get(&operator, &format!("/pauses/{}", made["id"])).await;
    assert_eq!(
        (&drain["left"], &drain["kind"]),
        (&json!(2), &json!("drain"))
    );
}

#[tokio::test]
async fn what_the_installation_wants_is_not_lifted_by_a_tenant() {
    let it = served().await;
    let admin = it.person("acme", Role::Admin).await;
    let acme = it.tenant_id("acme").await;
    let root = queue::By {
        name: "root",
        why: None,
    };
    let scope = queue::rules::Scope::TenantTask(acme, "task");
    let limits = queue::rules::Limits {
        in_flight_max: Some(3),
        rate: None,
    };
    let queue = it.queue();
    let id = queue
        .pause(queue::rules::PauseKind::Pause, scope, root)
        .await
        .expect("a pause");
    queue.set_limit(scope, limits, root).await.expect("a limit");
    let path = format!("/pauses/{id}");
    let refused = it.send(&admin, "DELETE", &path, json!({})).await;
    assert_eq!(problem(&refused), (409, "conflict"));
    let (_, seen) = it.get(&admin, &path).await;
    assert_eq!((&seen["by"], &seen["own"]), (&json!("root"), &json!(false)));
    let more = json!({"in_flight_max": 100});
    let refused = it.send(&admin, "PUT", "/tasks/task/limit", more).await;
    assert_eq!(problem(&refused), (409, "conflict"));
}

#[tokio::test]
async fn limits_and_caps_are_set_by_an_admin() {
    let it = served().await;
    let admin = it.person("acme", Role::Admin).await;
    it.jobs("acme", "task", 5, false).await;
    let wanted = json!({"in_flight_max": 2, "rate": {"per_second": 0.5}, "why": "the vendor asks"});
    let (status, body) = it.send(&admin, "PUT", "/tasks/task/limit", wanted).await;
    assert_eq!(
        (status, &body["limited"]),
        (StatusCode::OK, &json!(true)),
        "{body}"
    );
    let (_, task) = it.get(&admin, "/tasks/task").await;
    assert_eq!(task["limits"][0]["in_flight_max"], 2);
    assert_eq!(
        task["limits"][0]["rate"],
        json!({"per_second": 0.5, "burst": 1})
    );
    assert_eq!(it.claim("task", 5).await.len(), 1);
    let (_, body) = it.send(&admin, "PUT", "/tasks/task/limit", json!({})).await;
    assert_eq!(body["limited"], false);
    let (status, lane) = it
        .send(&admin, "PUT", "/tasks/task/cap", json!({"cap": 2}))
        .await;
    assert_eq!(
        (status, &lane["cap"], &lane["in_flight"]),
        (StatusCode::OK, &json!(2), &json!(1))
    );
    assert_eq!(it.claim("task", 5).await.len(), 1);
    for (path, body) in [
        ("/tasks/task/limit", json!({"in_flight_max": 0})),
        ("/tasks/task/limit", json!({"rate": {"per_second": -1.0}})),
        ("/tasks/task/limit", json!({"max": 1})),
        ("/tasks/task/cap", json!({"cap": -1})),
        ("/tasks/task/cap", json!({"cap": "many"})),
    ] {
        let refused = it.send(&admin, "PUT", path, body.clone()).await;
        assert_eq!(problem(&refused), (422, "bad-body"), "{path} {body}");
    }
}

#[tokio::test]
async fn dead_jobs_are_found_replayed_and_purged() {
    let it = served().await;
    let admin = it.person("acme", Role::Admin).await;
    let dead = it.jobs("acme", "task", 5, true).await;
    let foreign = it.jobs("umbra", "task", 1, true).await;
    let path = "/dead?task=task&reason=VENDOR&limit=2";
    let (_, first) = it.get(&admin, path).await;
    let ids = |piece: &Value| -> Vec<i64> {
        let items = piece["items"].as_array().expect("a list");
        items.iter().filter_map(|job| job["id"].as_i64()).collect()
    };
    assert_eq!(ids(&first), [dead[4], dead[3]]);
    let cursor = first["next"].as_str().expect("there are more");
    let (_, second) = it.get(&admin, &format!("{path}&cursor={cursor}")).await;
    assert_eq!(ids(&second), [dead[2], dead[1]]);
    let (_, none) = it.get(&admin, "/dead?reason=disk").await;
    assert_eq!((ids(&none).len(), &none["next"]), (0, &Value::Null));

    let named = json!({"jobs": [dead[0], foreign[0]]});
    let (status, done) = it
        .send(&admin, "POST", "/dead/replays", named.clone())
        .await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(done["replayed"][0]["job"], dead[0]);
    assert_eq!(done["missing"], json!([foreign[0]]));
    let (_, again) = it.send(&admin, "POST", "/dead/replays", named).await;
    assert_eq!(again["replayed"], done["replayed"], "once is enough");
    let named = json!({"jobs": [dead[1], foreign[0]]});
    let (_, done) = it.send(&admin, "POST", "/dead/purges", named).await;
    assert_eq!(done, json!({"purged": [dead[1]], "missing": [foreign[0]]}));

    let matching = json!({"filter": {"task": "task"}});
    let (status, asked) = it.send(&admin, "POST", "/dead/replays", matching).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    let (_, job) = it.get(&admin, &format!("/jobs/{}", asked["job"])).await;
    assert_eq!(
        (&job["task"], &job["state"]),
        (&json!("task-bulk"), &json!("queued"))
    );
    assert_eq!(job["payload"]["filter"]["task"], "task");
    for body in [
        json!({}),
        json!({"jobs": []}),
        json!({"jobs": [1], "filter": {}}),
        json!({"filter": {"tusk": "task"}}),
        json!({"jobs": vec![1; 101]}),
    ] {
        let refused = it.send(&admin, "POST", "/dead/purges", body.clone()).await;
        assert_eq!(problem(&refused), (422, "bad-body"), "{body}");
    }
}

#[tokio::test]
async fn a_repair_says_what_it_considered_and_did() {
    let it = served().await;
    let admin = it.person("acme", Role::Admin).await;
    let jobs = it.jobs("acme", "task", 1, false).await;
    let foreign = it.jobs("umbra", "task", 1, false).await;
    it.claim("task", 2).await;
    let mut wanted =
        json!({"kind": "reap", "jobs": [jobs[0], foreign[0]], "dry_run": true, "why": "it hangs"});
    let (status, look) = it.send(&admin, "POST", "/repairs", wanted.clone()).await;
    assert_eq!(status, StatusCode::OK, "{look}");
    assert_eq!((&look["considered"], &look["done"]), (&json!(2), &json!(1)));
    wanted["dry_run"] = json!(false);
    let (_, report) = it.send(&admin, "POST", "/repairs", wanted).await;
    assert_eq!(report["items"][0]["did"], "requeued");
    assert_eq!(report["items"][1]["did"], "skipped");
    let claimed = it.claim("task", 5).await;
    assert_eq!(claimed.len(), 1, "the other's is still held");
    let told = it.metrics().await;
    let counted = r#"switchyard_task_repairs_total{kind="requeued"} 1"#;
    assert!(told.contains(counted), "{told}");
    let (_, told) = it
        .send(&admin, "POST", "/repairs", json!({"kind": "republish"}))
        .await;
    assert!(told["considered"].is_number(), "{told}");
    for body in [
        json!({"kind": "reap"}),
        json!({"kind": "reap", "task": "task", "limit": 0}),
        json!({"kind": "republish", "jobs": [1]}),
        json!({"kind": "heal", "task": "task"}),
    ] {
        let refused = it.send(&admin, "POST", "/repairs", body.clone()).await;
        assert_eq!(problem(&refused), (422, "bad-body"), "{body}");
    }
}

#[tokio::test]
async fn each_deed_takes_its_role_and_a_token_in_the_header() {
    let it = served().await;
    let dead = it.jobs("acme", "task", 1, true).await;
    let tokens = [
        it.person("acme", Role::Viewer).await,
        it.person("acme", Role::Operator).await,
        it.person("acme", Role::Admin).await,
    ];
    for (method, path, body, least) in [
        ("POST", "/pauses", json!({"kind": "pause", "queue": "q"}), 1),
        ("PUT", "/tasks/task/limit", json!({}), 2),
        ("PUT", "/tasks/task/cap", json!({}), 2),
        ("POST", "/dead/replays", json!({"jobs": [dead[0]]}), 1),
        ("POST", "/dead/purges", json!({"jobs": [dead[0]]}), 2),
        ("POST", "/repairs", json!({"kind": "republish"}), 2),
    ] {
        for (rank, token) in tokens.iter().enumerate() {
            let answer = it.send(token, method, path, body.clone()).await;
            if rank < least {
                assert_eq!(problem(&answer), (403, "forbidden"), "{path} by {rank}");
            } else {
                assert!(answer.0.is_success(), "{path} by {rank}: {}", answer.1);
            }
        }
        // A cookie is sent for whoever makes a browser ask.
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", format!("switchyard_session={}", tokens[2]))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = it.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn lists_of_lanes_are_the_tenants_own() {
    let it = served().await;
    it.jobs("umbra", "secret", 1, false).await;
    for path in ["/tasks", "/queues"] {
        let (status, body) = it.get(&it.acme.token, path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(!body.to_string().contains("secret"), "{path}: {body}");
    }
    for path in ["/tasks/secret", "/queues/secret", "/pauses/1", "/pauses/x"] {
        let answer = it.get(&it.acme.token, path).await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
    }
    for path in ["/dead?since=yesterday", "/dead?limit=0", "/dead?tusk=a"] {
        let answer = it.get(&it.acme.token, path).await;
        assert_eq!(problem(&answer), (422, "bad-query"), "{path}");
    }
}

#[tokio::test]
async fn a_value_that_no_column_takes_is_refused_as_the_askers_fault() {
    let it = served().await;
    let token = it.person("acme", Role::Admin).await;
    for path in [
        "/dead?task=%00",
        "/dead?reason=a%00b",
        "/dead?since=-200000-01-01T00:00:00Z",
        "/dead?until=%2B200000-01-01T00:00:00Z",
        "/queues/a%00b",
        "/tasks/a%00b",
        "/executors/a%00b",
    ] {
        let (status, body) = it.get(&token, path).await;
        // What is looked for here and not by the database is not found.
        let empty = status == StatusCode::OK && body["items"] == json!([]);
        assert!(
            status == StatusCode::UNPROCESSABLE_ENTITY || empty,
            "{path}: {status} {body}"
        );
    }
    for (method, path, body) in [
        ("POST", "/pauses", json!({"kind": "pause", "task": "a\0b"})),
        (
            "POST",
            "/pauses",
            json!({"kind": "pause", "task": "a", "why": "\0"}),
        ),
        ("POST", "/repairs", json!({"kind": "reap", "task": "\0"})),
        ("PUT", "/tasks/a%00b/cap", json!({"cap": 1})),
        ("PUT", "/tasks/a%00b/limit", json!({"in_flight_max": 1})),
    ] {
        let answer = it.send(&token, method, path, body).await;
        assert_eq!(problem(&answer), (422, "bad-body"), "{method} {path}");
    }
}
