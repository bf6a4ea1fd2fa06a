//! New jobs, asking them to stop, and their logs as streams.

use std::time::Duration;

use super::*;

/// How long a message of a stream may take; a stream looks every quarter of a second.
const MESSAGE_MAX: Duration = Duration::from_secs(20);

/// A stream of messages, read as far as somebody wants.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    /// The next message: its id, event and data.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let message = message.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    let mut lines = message.lines();
                    lines
                        .find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
                };
                let Some(data) = field("data") else {
                    continue;
                };
                let data = serde_json::from_str(&data).expect("JSON");
                return Some((field("id")?, field("event")?, data));
            }
            let frame = tokio::time::timeout(MESSAGE_MAX, self.body.frame());
            let frame = frame.await.expect("a message in time")?.expect("a frame");
            let bytes = frame.into_data().expect("data");
            self.text
                .push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }

    /// The numbers of the lines of the next message of lines, and its id.
    async fn lines(&mut self) -> (String, Vec<i64>) {
        loop {
            let (id, event, data) = self.next().await.expect("lines");
            if event == "lines" {
                let items = data["items"].as_array().expect("a list").iter();
                let seq = |item: &Value| item["seq"].as_i64().expect("a number");
                return (id, items.map(seq).collect());
            }
        }
    }
}

impl Served {
    async fn follow(&self, token: &str, path: &str, last: Option<&str>) -> Stream {
        let mut request = Request::get(path)
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            body: response.into_body(),
            text: String::new(),
        }
    }

    async fn write_lines(&self, job: i64, from: i64, to: i64) {
        sqlx::query(
            "insert into switchyard.job_logs (database_id, job_id, epoch, seq, stream, line)
             select database_id, id, 1, n, 'stdout', 'line ' || n from switchyard.jobs, generate_series($2::bigint, $3::bigint) n
             where id = $1",
        )
        .bind(job)
        .bind(from)
        .bind(to)
        .execute(&self.rows)
        .await
        .expect("lines");
    }
}

#[tokio::test]
async fn a_job_is_added_by_who_may_and_worked_on_under_their_name() {
    let it = served().await;
    let operator = it.person("acme", Role::Operator).await;
    let viewer = it.person("acme", Role::Viewer).await;
    let body = json!({"task": "task-x", "payload": {"a": 1}, "queue": "q", "key": "k"});
    let refused = it.send(&viewer, "POST", "/jobs", body.clone()).await;
    assert_eq!(problem(&refused), (403, "forbidden"));
    let (status, created) = it.send(&operator, "POST", "/jobs", body).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let (_, job) = it
        .get(&operator, &format!("/jobs/{}", created["job"]))
        .await;
    assert_eq!(
        (&job["task"], &job["payload"], &job["queue"]),
        (&json!("task-x"), &json!({"a": 1}), &json!("q"))
    );
    assert!(job["actor"].is_string(), "{job}");
    for wrong in [
        json!({"payload": {}}),
        json!({"task": ""}),
        json!({"task": "x", "tusk": 1}),
        json!({"task": "x\u{0}"}),
        json!({"task": "x".repeat(1_000)}),
        // An operator purges nothing by writing what the bulk task does.
        json!({"task": "task-bulk", "payload": {"deed": "purge"}}),
    ] {
        let answer = it.send(&operator, "POST", "/jobs", wrong.clone()).await;
        assert_eq!(problem(&answer), (422, "bad-body"), "{wrong}");
    }
}

#[tokio::test]
async fn a_job_is_asked_to_stop_once() {
    let it = served().await;
    let operator = it.person("acme", Role::Operator).await;
    let viewer = it.person("acme", Role::Viewer).await;
    let path = format!("/jobs/{}/cancel", it.acme.job);
    let refused = it.send(&viewer, "POST", &path, json!({})).await;
    assert_eq!(problem(&refused), (403, "forbidden"));
    let foreign = format!("/jobs/{}/cancel", it.umbra.job);
    let missing = it.send(&operator, "POST", &foreign, json!({})).await;
    assert_eq!(problem(&missing), (404, "not-found"));
    for outcome in ["cancelled", "too_late"] {
        let (status, body) = it.send(&operator, "POST", &path, json!({})).await;
        assert_eq!(
            (status, &body["outcome"]),
            (StatusCode::ACCEPTED, &json!(outcome))
        );
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_and_says_the_end() {
    let it = served().await;
    let (token, job) = (&it.acme.token, it.acme.job);
    let path = format!("/jobs/{job}/log");
    let mut first = it.follow(token, &path, None).await;
    let (place, lines) = first.lines().await;
    assert_eq!((place.as_str(), lines), ("1:5", vec![1, 2, 3, 4, 5]));
    let (_, event, told) = first.next().await.expect("how the job is");
    assert_eq!((event.as_str(), &told["state"]), ("job", &json!("queued")));
    drop(first);
    it.write_lines(job, 6, 7).await;
    let mut second = it.follow(token, &path, Some(&place)).await;
    assert_eq!(second.lines().await, ("1:7".to_owned(), vec![6, 7]));
    // A line that commits late is waited for, and nothing after it is shown before.
    it.write_lines(job, 9, 9).await;
    it.write_lines(job, 8, 8).await;
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        numbers.extend(second.lines().await.1);
    }
    assert_eq!(numbers, [8, 9]);
    let operator = it.person("acme", Role::Operator).await;
    it.send(&operator, "POST", &format!("/jobs/{job}/cancel"), json!({}))
        .await;
    let end = loop {
        let (id, event, data) = second.next().await.expect("the end");
        if event == "end" {
            break (id, data["state"].clone());
        }
    };
    assert_eq!(end, ("1:9".to_owned(), json!("cancelled")));
    assert!(second.next().await.is_none(), "nothing comes after the end");
    // Whoever comes back after the end is told it again, and no line.
    let mut third = it.follow(token, &path, Some("1:9")).await;
    let (_, event, _) = third.next().await.expect("the end");
    assert_eq!(event, "end");
}

#[tokio::test]
async fn a_log_is_read_from_a_time_on() {
    let it = served().await;
    let job = it.acme.job;
    sqlx::query("update switchyard.job_logs set at = '2026-01-01' where job_id = $1 and seq <= 3")
        .bind(job)
        .execute(&it.rows)
        .await
        .expect("older lines");
    let path = format!("/jobs/{job}/log?since=2026-01-02T00:00:00Z");
    let (_, piece) = it.get(&it.acme.token, &path).await;
    let seqs: Vec<_> = piece["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|l| &l["seq"])
        .collect();
    assert_eq!(seqs, [4, 5]);
    let mut stream = it.follow(&it.acme.token, &path, None).await;
    assert_eq!(stream.lines().await.1, [4, 5]);
    let wrong = it
        .get(&it.acme.token, &format!("/jobs/{job}/log?since=yesterday"))
        .await;
    assert_eq!(problem(&wrong), (422, "bad-query"));
}

#[tokio::test]
async fn a_stream_of_what_is_not_there_is_a_problem() {
    let it = served().await;
    let ask = |path: String, last: &'static str| {
        Request::get(path)
            .header("authorization", format!("Bearer {}", it.acme.token))
            .header("accept", "text/event-stream")
            .header("last-event-id", last)
    };
    let foreign = it
        .ask(ask(format!("/jobs/{}/log", it.umbra.job), "1:1"))
        .await;
    assert_eq!(problem(&foreign), (404, "not-found"));
    let wrong = it.ask(ask(format!("/jobs/{}/log", it.acme.job), "x")).await;
    assert_eq!(problem(&wrong), (422, "bad-query"));
}

#[tokio::test]
async fn secrets_of_a_runs_environment_are_shown_to_nobody() {
    let it = served().await;
    it.be("operator").await;
    let payload = json!({
        "action": "plan", "state": "net", "source": {"inline": {"files": {"main.tf": ""}}},
        "environment": {"AWS_REGION": "eu-west-1", "AWS_SECRET_ACCESS_KEY": "s3cret"},
    });
    let wanted = json!({"task": "task-terraform", "payload": payload});
    let made = it.must(201, http::Method::POST, "/jobs", wanted).await;
    let path = format!("/jobs/{}", made["job"]);
    let shown = it.must(200, http::Method::GET, &path, Value::Null).await;
    assert_eq!(
        shown["payload"]["environment"],
        json!({"AWS_REGION": "eu-west-1", "AWS_SECRET_ACCESS_KEY": "***"})
    );
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn variables_are_shown_when_the_jobs_plan_says_that_anybody_may_see_them() {
    let it = served().await;
    it.be("operator").await;
    let payload = json!({
        "action": "plan", "state": "net", "source": {"inline": {"files": {"main.tf": ""}}},
        "variables": {"cidr": "10.0.0.0/24", "pin": "s3cret", "db_password": "s3cret"},
    });
    let wanted = json!({"task": "task-terraform", "payload": payload});
    let made = it.must(201, http::Method::POST, "/jobs", wanted).await;
    let path = format!("/jobs/{}", made["job"]);
    let variables = async || {
        let mut shown = it.must(200, http::Method::GET, &path, Value::Null).await;
        shown["payload"]["variables"].take()
    };
    assert_eq!(
        variables().await,
        json!({"cidr": "***", "pin": "***", "db_password": "***"})
    );
    for (epoch, said) in [
        (
            1,
            json!({"plan": {"plain_variables": ["cidr", "pin", "db_password"]}}),
        ),
        (
            2,
            json!({"plan": {"plain_variables": ["cidr", "db_password"]}}),
        ),
        (3, json!({"changes": false})),
    ] {
        sqlx::query(
            "insert into switchyard.runs
                 (database_id, job_id, epoch, phase, launcher, spec, lease, until, retry, log_seq, report)
             select database_id, id, $2, 'plan', 'local', '', '30 seconds', now(), false, 0, $3
             from switchyard.jobs where id = $1",
        )
        .bind(made["job"].as_i64())
        .bind(epoch)
        .bind(said)
        .execute(&it.rows)
        .await
        .expect("a run");
    }
    assert_eq!(
        variables().await,
        json!({"cidr": "10.0.0.0/24", "pin": "***", "db_password": "***"})
    );
}
