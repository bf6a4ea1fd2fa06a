//! Terraform's states and decisions on plans.

use store::terraform::{Caller, NewVersion};

use super::*;

/// A state of acme with two versions, of which the second is in quarantine; and its id.
async fn state(it: &Served, keyring: &Keyring) -> String {
    let tenant: uuid::Uuid =
        sqlx::query_scalar("select database_id from switchyard.tenants where name = 'acme'")
            .fetch_one(&it.rows)
            .await
            .expect("a tenant");
    let store = Store::new(SystemDb::new(&connect(&it._db, DatabaseRole::System)).expect("a URL"));
    let caller = Caller {
        tenant: tenant.into(),
        state: "net",
        by: "somebody",
        run: None,
    };
    for (serial, secret, lock_id) in [
        (1, "first secret", None),
        (2, "second secret", Some("gone")),
    ] {
        let text = json!({
            "version": 4, "serial": serial, "lineage": "l", "terraform_version": "1.11.4", "resources": [],
            "outputs": {"password": {"value": secret, "type": "string", "sensitive": true}},
        })
        .to_string();
        let new = NewVersion {
            lock_id,
            serial,
            lineage: "l",
            terraform_version: None,
            sha256: [u8::try_from(serial).expect("small"); 32],
            state: text.as_bytes(),
        };
        store
            .write_terraform_state(keyring, &caller, &new)
            .await
            .expect("an answer");
    }
    sqlx::query_scalar("select id::text from switchyard.terraform_states")
        .fetch_one(&it.rows)
        .await
        .expect("a state")
}

impl Served {
    async fn said(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.acme.token));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }
}

#[tokio::test]
async fn a_state_is_shown_masked_and_given_away_on_record_alone() {
    let it = served().await;
    let key = std::fs::read_to_string(it._key.path()).expect("the key");
    let id = state(&it, &Keyring::from_base64(&key.into()).expect("a key")).await;
    let versions = format!("/terraform-states/{id}/versions");
    for path in [
        "/terraform-states".to_owned(),
        format!("/terraform-states/{id}"),
        versions.clone(),
        format!("{versions}/2"),
        format!("{versions}/2/diff"),
        format!("{versions}/1/diff?from=2"),
    ] {
        let (status, said) = it.said("GET", &path, None).await;
        assert_eq!(status, 200, "{path}: {said}");
        assert!(!said.to_string().contains("secret\""), "{path}: {said}");
    }
    let (_, said) = it.said("GET", &versions, None).await;
    let quarantined: Vec<_> = said["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| {
            (
                item["number"].clone(),
                item["quarantined"].is_string(),
                item["current"].clone(),
            )
        })
        .collect();
    assert_eq!(
        quarantined,
        [
            (json!(2), true, json!(false)),
            (json!(1), false, json!(true))
        ]
    );

    let download = format!("{versions}/1/download");
    let promote = format!("{versions}/2/promote");
    for (method, path) in [
        ("GET", &download),
        ("POST", &promote),
        ("DELETE", &format!("/terraform-states/{id}")),
    ] {
        for less in ["viewer", "operator"] {
            it.be(less).await;
            assert_eq!(it.said(method, path, None).await.0, 403, "{less} {path}");
        }
    }
    it.be("admin").await;
    let (status, whole) = it.said("GET", &download, None).await;
    assert_eq!(
        (status, &whole["outputs"]["password"]["value"]),
        (200, &json!("first secret"))
    );
    assert_eq!(it.said("POST", &promote, None).await.0, 200);
    assert_eq!(
        it.said("GET", &format!("{versions}/9/download"), None)
            .await
            .0,
        404
    );
    let unlock = format!("/terraform-states/{id}/unlock");
    assert_eq!(
        it.said("POST", &unlock, Some(json!({"lock": "x"}))).await.0,
        409
    );
    assert_eq!(
        it.said("DELETE", &format!("/terraform-states/{id}"), None)
            .await
            .0,
        204
    );
    assert_eq!(
        it.said("GET", &format!("/terraform-states/{id}"), None)
            .await
            .0,
        404
    );
    let deeds: Vec<String> = sqlx::query_scalar("select deed from switchyard.audit order by id")
        .fetch_all(&it.rows)
        .await
        .expect("the audit");
    assert_eq!(
        deeds,
        [
            "quarantine_state",
            "download_state",
            "promote_state",
            "remove_state"
        ]
    );
}

#[tokio::test]
async fn a_decision_takes_an_operator_and_names_what_was_read() {
    let it = served().await;
    let path = format!("/jobs/{}/approve", it.acme.job);
    let plan = json!({"plan": "0".repeat(64)});
    assert_eq!(it.said("POST", &path, Some(plan.clone())).await.0, 403);
    it.be("operator").await;
    for wrong in [
        json!({}),
        json!({"plan": "x"}),
        json!({"plan": "0".repeat(64), "x": 1}),
    ] {
        assert_eq!(
            it.said("POST", &path, Some(wrong.clone())).await.0,
            422,
            "{wrong}"
        );
    }
    let (status, said) = it.said("POST", &path, Some(plan.clone())).await;
    assert_eq!(status, 409, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .expect("a text")
            .starts_with("not_waiting"),
        "{said}"
    );
    let foreign = format!("/jobs/{}/reject", it.umbra.job);
    assert_eq!(it.said("POST", &foreign, Some(plan)).await.0, 404);
}

#[tokio::test]
async fn of_decisions_that_come_together_one_counts() {
    let it = served().await;
    it.be("operator").await;
    let (job, epoch) = loop {
        let claimed: (i64, i64) = sqlx::query_as(
            "select id, epoch from switchyard.claim_jobs(gen_random_uuid(), array['task-static'], 1, '1 min')",
        )
        .fetch_one(&it.rows)
        .await
        .expect("two houses have a job each");
        if claimed.0 == it.acme.job {
            break claimed;
        }
    };
    sqlx::query("select switchyard.wait_job($1, $2, 'approval', '1 hour', null)")
        .bind(job)
        .bind(epoch)
        .execute(&it.rows)
        .await
        .expect("it waits");
    let plan = json!({"plan": "0".repeat(64)});
    let decisions = (0..8).map(|n| {
        let verb = if n % 2 == 0 { "approve" } else { "reject" };
        let (it, plan) = (&it, plan.clone());
        async move {
            let path = format!("/jobs/{job}/{verb}");
            it.said("POST", &path, Some(plan)).await
        }
    });
    let said = futures::future::join_all(decisions).await;
    let taken = said.iter().filter(|(status, _)| *status == 200).count();
    let late = said.iter().filter(|(status, said)| {
        *status == 409
            && said["detail"]
                .as_str()
                .is_some_and(|why| why.starts_with("decided"))
    });
    assert_eq!((taken, late.count()), (1, 7), "{said:?}");
    let recorded: i64 = sqlx::query_scalar(
        "select count(*) from switchyard.job_events where job_id = $1 and kind in ('approved', 'rejected')",
    )
    .bind(job)
    .fetch_one(&it.rows)
    .await
    .expect("a count");
    assert_eq!(recorded, 1);
}

#[tokio::test]
async fn a_run_that_cannot_be_is_refused_before_there_is_a_job() {
    let it = served().await;
    it.be("operator").await;
    let job = |environment: Value| {
        json!({"task": "task-terraform", "payload": {
            "action": "plan", "state": "net", "environment": environment,
            "source": {"inline": {"files": {"main.tf": ""}}},
        }})
    };
    for name in ["LD_PRELOAD", "TF_CLI_ARGS"] {
        let (status, said) = it
            .said("POST", "/jobs", Some(job(json!({ name: "x" }))))
            .await;
        assert_eq!(status, 422, "{said}");
        assert!(
            said["detail"].as_str().expect("a text").contains(name),
            "{said}"
        );
    }
    assert_eq!(
        it.said("POST", "/jobs", Some(job(json!({"A": "b"}))))
            .await
            .0,
        201
    );
    let keys: Vec<Option<String>> =
        sqlx::query_scalar("select key from switchyard.jobs where task = 'task-terraform'")
            .fetch_all(&it.rows)
            .await
            .expect("the jobs");
    assert_eq!(keys, [Some("terraform:net".to_owned())]);
}
