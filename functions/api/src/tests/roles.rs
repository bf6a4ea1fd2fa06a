//! Who may do what: each route of runs, states, artifacts, workspaces and credentials, tried by everybody who may not.

use http::Method;

use super::*;

/// A route with what takes it: method, path, body, and the least role.
type Deed = (Method, String, Value, Role);

/// Things of one tenant, by their ids.
struct Things {
    job: i64,
    artifact: String,
    credential: String,
    state: String,
    workspace: String,
}

fn workspace() -> Value {
    json!({"name": "network", "repository": "https://git.example.com/infra/network.git"})
}

fn credential() -> Value {
    json!({"name": "git", "host": "git.example.com", "secret": "s3cret"})
}

impl Served {
    async fn made(&self, tenant: &Tenant, method: Method, path: &str, body: Value) -> String {
        let (status, made) = self.told_to(tenant, method, path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {made}");
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn things(&self, tenant: &Tenant) -> Things {
        let state: String = sqlx::query_scalar(
            "insert into switchyard.terraform_states (id, database_id, name)
             select gen_random_uuid(), database_id, 'net' from switchyard.jobs where id = $1
             returning id::text",
        )
        .bind(tenant.job)
        .fetch_one(&self.rows)
        .await
        .expect("a state");
        Things {
            job: tenant.job,
            state,
            artifact: self
                .made(tenant, Method::PUT, "/shelf/file.txt", json!("content"))
                .await,
            credential: self
                .made(tenant, Method::POST, "/credentials", credential())
                .await,
            workspace: self
                .made(tenant, Method::POST, "/workspaces", workspace())
                .await,
        }
    }
}

impl Things {
    /// What is read.
    fn reads(&self) -> Vec<String> {
        vec![
            format!("/artifacts/{}", self.artifact),
            format!("/artifacts/{}/content", self.artifact),
            format!("/jobs/{}", self.job),
            format!("/jobs/{}/artifacts", self.job),
            format!("/jobs/{}/log", self.job),
            format!("/jobs/{}/runs", self.job),
            format!("/terraform-states/{}", self.state),
            format!("/terraform-states/{}/versions", self.state),
            format!("/workspaces/{}", self.workspace),
        ]
    }

    /// What is done to one of them.
    fn deeds(&self) -> Vec<Deed> {
        use Role::{Admin, Operator};

        let plan = json!({"plan": "a".repeat(64)});
        let job = format!("/jobs/{}", self.job);
        let state = format!("/terraform-states/{}", self.state);
        let credential = format!("/credentials/{}", self.credential);
        let workspace_path = format!("/workspaces/{}", self.workspace);
        let artifact = format!("/artifacts/{}", self.artifact);
        let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
        let none = Value::Null;
        vec![
            (
                put.clone(),
                format!("{job}/artifacts/x"),
                json!("x"),
                Operator,
            ),
            (
                post.clone(),
                format!("{job}/approve"),
                plan.clone(),
                Operator,
            ),
            (post.clone(), format!("{job}/reject"), plan, Operator),
            (
                post.clone(),
                format!("{job}/cancel"),
                none.clone(),
                Operator,
            ),
            (
                post.clone(),
                format!("{state}/unlock"),
                json!({"lock": "x"}),
                Operator,
            ),
            (
                Method::GET,
                format!("{state}/versions/1/download"),
                none.clone(),
                Admin,
            ),
            (
                post.clone(),
                format!("{state}/versions/1/promote"),
                none.clone(),
                Admin,
            ),
            (delete.clone(), state, none.clone(), Admin),
            (
                post.clone(),
                format!("{workspace_path}/sync"),
                none.clone(),
                Operator,
            ),
            (put.clone(), workspace_path.clone(), workspace(), Admin),
            (delete.clone(), workspace_path, none.clone(), Admin),
            (post, format!("{credential}/checks"), none.clone(), Operator),
            (put, credential.clone(), json!({"secret": "x"}), Admin),
            (delete.clone(), credential, none.clone(), Admin),
            (delete, artifact, none, Operator),
        ]
    }

    /// What makes something new.
    fn makes() -> Vec<Deed> {
        let shelf = "/shelf/other".to_owned();
        vec![
            (Method::PUT, shelf, json!("x"), Role::Operator),
            (
                Method::POST,
                "/jobs".to_owned(),
                json!({"task": "task-static"}),
                Role::Operator,
            ),
            (
                Method::POST,
                "/workspaces".to_owned(),
                workspace(),
                Role::Admin,
            ),
            (
                Method::POST,
                "/credentials".to_owned(),
                credential(),
                Role::Admin,
            ),
        ]
    }
}

#[tokio::test]
async fn nobody_does_what_their_role_does_not_allow() {
    let it = served().await;
    it.be("admin").await;
    let own = it.things(&it.acme).await;
    let deeds: Vec<Deed> = own.deeds().into_iter().chain(Things::makes()).collect();
    for role in [Role::Viewer, Role::Operator] {
        it.be(role.as_str()).await;
        for (method, path, body, least) in &deeds {
            if role >= *least {
                continue;
            }
            let answer = it
                .told_to(&it.acme, method.clone(), path, body.clone())
                .await;
            assert_eq!(
                problem(&answer),
                (403, "forbidden"),
                "{method} {path} by {}",
                role.as_str()
            );
        }
    }
    // What is only read is for every member.
    it.be("viewer").await;
    for path in own.reads() {
        let request =
            Request::get(&path).header("authorization", format!("Bearer {}", it.acme.token));
        let answered = it
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"));
        let status = answered.await.expect("an answer").status();
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing_and_no_token_reads_nothing() {
    let it = served().await;
    it.be("admin").await;
    let own = it.things(&it.acme).await;
    for (method, path, body, _) in own.deeds().into_iter().chain(Things::makes()) {
        let ask = |cookie: Option<&str>| {
            let mut request = Request::builder().method(method.clone()).uri(&path);
            if let Some(cookie) = cookie {
                request = request.header("cookie", format!("switchyard_session={cookie}"));
            }
            let body = match &body {
                Value::Null => Body::empty(),
                body => Body::from(body.to_string()),
            };
            let request = request.header(CONTENT_TYPE, "application/json").body(body);
            it.router.clone().oneshot(request.expect("a request"))
        };
        let by_cookie = ask(Some(&it.acme.token)).await.expect("an answer");
        assert_eq!(by_cookie.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let by_nobody = ask(None).await.expect("an answer");
        assert_eq!(
            by_nobody.status(),
            StatusCode::UNAUTHORIZED,
            "{method} {path}"
        );
    }
    for path in own.reads() {
        let nobody = it.ask(Request::get(&path)).await;
        assert_eq!(problem(&nobody), (401, "unauthorized"), "{path}");
    }
}

#[tokio::test]
async fn things_of_another_tenant_are_not_found_whatever_is_done_to_them() {
    let it = served().await;
    it.be("admin").await;
    let foreign = it.things(&it.umbra).await;
    for path in foreign.reads() {
        let answer = it.get(&it.acme.token, &path).await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
    }
    for (method, path, body, _) in foreign.deeds() {
        let answer = it
            .told_to(&it.acme, method.clone(), &path, body.clone())
            .await;
        assert_eq!(problem(&answer), (404, "not-found"), "{method} {path}");
    }
    // All of it is still there, and as it was.
    for path in foreign.reads() {
        let request =
            Request::get(&path).header("authorization", format!("Bearer {}", it.umbra.token));
        let answered = it
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"));
        let status = answered.await.expect("an answer").status();
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let lists = [
        "/artifacts",
        "/credentials",
        "/jobs",
        "/terraform-states",
        "/workspaces",
    ];
    for path in lists {
        let (_, list) = it.get(&it.acme.token, path).await;
        let text = list.to_string();
        for id in [
            &foreign.artifact,
            &foreign.credential,
            &foreign.state,
            &foreign.workspace,
        ] {
            assert!(!text.contains(id.as_str()), "{path} shows {id}");
        }
    }
}
