//! What the real API does too seldom to wait for it: lost answers, restarts, jobs of others, words that nobody knows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use egress::{Guard, TenantEgress};
use exec::{Ended, Piece, Redactor, Stop};
use model::run::{NetlabAction, NetlabOrder};
use netlab_api::{Api, ApiError, Order, done};
use reqwest::Certificate;
use serde_json::{Value, json};
use testkit::Https;
use tokio::sync::mpsc;

/// What the double holds, and how it behaves.
#[derive(Default)]
struct It {
    jobs: Vec<Value>,
    /// Answers to starts that are lost after the job was taken, and before.
    lose_after: u32,
    lose_before: u32,
    /// How often a job is looked at before it ends so.
    looks: u32,
    ends: Value,
    log: String,
    forgets: bool,
    started: Vec<Value>,
}

type Double = Arc<Mutex<It>>;

async fn jobs(State(it): State<Double>) -> Json<Value> {
    Json(json!({"jobs": it.lock().unwrap().jobs}))
}

async fn add(State(it): State<Double>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(headers["authorization"], "Basic bGFiczpzZWNyZXQ=");
    let mut it = it.lock().unwrap();
    if it.lose_before > 0 {
        it.lose_before -= 1;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    it.started.push(body.clone());
    let job = json!({
        "id": format!("job-{}", it.jobs.len()), "action": body["action"], "state": "running", "finishedAt": null, "error": null,
        "workdir": body["workdir"], "logPath": "/x", "createdAt": "2026-12-01T00:00:00Z", "startedAt": null,
    });
    it.jobs.push(job.clone());
    if it.lose_after > 0 {
        it.lose_after -= 1;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (StatusCode::ACCEPTED, Json(job)).into_response()
}

async fn one(State(it): State<Double>, Path(id): Path<String>) -> Response {
    let mut it = it.lock().unwrap();
    if it.forgets {
        let error = json!({"error": format!("Job {id} not found")});
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let over = it.looks == 0;
    it.looks = it.looks.saturating_sub(1);
    let ends = it.ends.clone();
    let job = it.jobs.iter_mut().find(|job| job["id"] == *id).unwrap();
    if over {
        for (name, value) in ends.as_object().unwrap() {
            job[name] = value.clone();
        }
    }
    Json(job.clone()).into_response()
}

async fn log(State(it): State<Double>) -> Json<Value> {
    Json(json!({"log": it.lock().unwrap().log}))
}

async fn cancel(State(it): State<Double>, Path(id): Path<String>) -> Response {
    let mut it = it.lock().unwrap();
    let job = it.jobs.iter_mut().find(|job| job["id"] == *id).unwrap();
    if job["state"] != "queued" {
        return StatusCode::CONFLICT.into_response();
    }
    job["state"] = json!("canceled");
    job["finishedAt"] = json!("2026-12-01T00:00:09Z");
    it.ends = json!({});
    Json(json!({})).into_response()
}

struct World {
    it: Double,
    api: Api,
    _https: Https,
}

async fn world(change: impl FnOnce(&mut It)) -> World {
    let mut it = It {
        ends: json!({"state": "success", "finishedAt": "2026-12-01T00:00:09Z"}),
        ..It::default()
    };
    change(&mut it);
    let it = Arc::new(Mutex::new(it));
    let router = Router::new()
        .route("/jobs", get(jobs).post(add))
        .route("/jobs/{id}", get(one))
        .route("/jobs/{id}/log", get(log))
        .route("/jobs/{id}/cancel", post(cancel))
        .with_state(it.clone());
    let https = Https::serve(router).await;
    let pem = std::fs::read(https.certificate()).unwrap();
    let roots = Certificate::from_pem_bundle(&pem).unwrap();
    let guard = Guard::new(https.authority().parse().unwrap());
    let egress = TenantEgress::new(guard, roots).unwrap();
    let url = format!("https://{}/", https.authority()).parse().unwrap();
    World {
        it,
        api: Api::new(egress, url).signed_in("labs", &"secret".into()),
        _https: https,
    }
}

impl World {
    async fn order(&self, action: NetlabAction, stop: &Stop) -> (Result<Ended, ApiError>, String) {
        let (send, mut receive) = mpsc::channel(16);
        let redactor = Redactor::new(["secret"]).unwrap();
        let order = NetlabOrder {
            action,
            folder: "/srv/labs/ring".to_owned(),
            topology: Some("topology.yml".to_owned()),
            collected: Some("collected.tar".to_owned()),
        };
        let done = async {
            let order = Order {
                order: &order,
                grace: Duration::from_secs(30),
                stop,
                redactor: &redactor,
                lines: &send,
            };
            let ended = done(&self.api, &order).await;
            drop(send);
            ended
        };
        let said = async {
            let mut said = String::new();
            while let Some(piece) = receive.recv().await {
                let Piece { lines, .. } = piece;
                for line in lines {
                    said.push_str(&line.shown(&Redactor::new(["secret"]).unwrap()));
                    said.push('\n');
                }
            }
            said
        };
        tokio::join!(done, said)
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_starts_no_second_job() {
    let world = world(|it| it.lose_after = 1).await;
    let (ended, said) = world.order(NetlabAction::Up, &Stop::default()).await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert_eq!(
        world.it.lock().unwrap().started,
        [json!({"action": "up", "workdir": "/srv/labs/ring", "topologyPath": "topology.yml"})]
    );
}

#[tokio::test]
async fn a_request_that_never_came_is_made_again() {
    let world = world(|it| it.lose_before = 2).await;
    let (ended, said) = world.order(NetlabAction::Down, &Stop::default()).await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert_eq!(
        world.it.lock().unwrap().started,
        [json!({"action": "down", "workdir": "/srv/labs/ring", "cleanup": true})]
    );
    let away = self::world(|it| it.lose_before = 99).await;
    let (ended, _) = away.order(NetlabAction::Down, &Stop::default()).await;
    assert!(ended.unwrap_err().is_passing());
}

#[tokio::test]
async fn a_job_that_is_forgotten_is_not_waited_for() {
    let world = world(|it| it.forgets = true).await;
    let (ended, said) = world.order(NetlabAction::Collect, &Stop::default()).await;
    assert!(matches!(ended, Err(ApiError::Forgotten(_))), "{said}");
    assert_eq!(
        world.it.lock().unwrap().started,
        [
            json!({"action": "collect", "workdir": "/srv/labs/ring", "collectTar": "collected.tar", "collectCleanup": true})
        ]
    );
}

#[tokio::test]
async fn a_success_over_errors_in_the_log_is_none() {
    let log = "IncorrectValue in nodes: attribute r1 is no node\nCreated group_vars for all\n";
    let world = world(|it| log.clone_into(&mut it.log)).await;
    let (ended, said) = world.order(NetlabAction::Create, &Stop::default()).await;
    assert_eq!(ended.unwrap().code, 1, "{said}");
    assert!(said.contains("reported errors"), "{said}");
}

#[tokio::test]
async fn what_has_not_begun_is_taken_back_and_what_has_is_waited_for() {
    let world = world(|it| it.looks = 2).await;
    let stop = Stop::default();
    let asked = async {
        while world.it.lock().unwrap().jobs.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.asked.cancel();
    };
    let ((ended, said), ()) = tokio::join!(world.order(NetlabAction::Up, &stop), asked);
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(said.contains("cannot stop what it has begun"), "{said}");

    let queued = self::world(|it| it.looks = 99).await;
    let stop = Stop::default();
    let asked = async {
        while queued.it.lock().unwrap().jobs.is_empty() {
            tokio::task::yield_now().await;
        }
        queued.it.lock().unwrap().jobs[0]["state"] = json!("queued");
        stop.asked.cancel();
    };
    let ((ended, said), ()) = tokio::join!(queued.order(NetlabAction::Up, &stop), asked);
    assert_eq!(ended.unwrap().code, 130, "{said}");
    assert!(said.contains("cancelled before it began"), "{said}");
}

#[tokio::test]
async fn jobs_of_others_are_told_and_not_taken_for_ours() {
    let other = json!({"id": "other", "action": "up", "state": "running", "finishedAt": null, "workdir": "/srv/labs/ring"});
    let world = world(|it| it.jobs.push(other)).await;
    let (ended, said) = world.order(NetlabAction::Up, &Stop::default()).await;
    assert_eq!(ended.unwrap().code, 0, "{said}");
    assert!(said.contains("has 1 before this"), "{said}");
    assert!(said.contains("took it as job-1"), "{said}");
}
