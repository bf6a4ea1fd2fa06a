//! Queues, tasks, schedules and dead jobs, by whom they may be seen and changed.

use std::time::Duration;

use ::queue::{Ended, Finish, NewJob};
use axum::body::Body;
use http::{Response, StatusCode};
use model::{JobId, Role};
use serde_json::json;
use uuid::Uuid;

use super::{Browser, House, Served, Stream, form, served, text};

impl Served {
    /// A form of a page of ours with fields.
    pub(super) async fn submit(
        &self,
        browser: &Browser,
        path: &str,
        fields: &str,
    ) -> Response<Body> {
        let body = format!("csrf={}&{fields}", browser.csrf);
        let mut request = form(browser, path, &body);
        request.headers_mut().insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        self.send(request).await
    }

    /// The same: what comes of it.
    pub(super) async fn send_form(
        &self,
        browser: &Browser,
        path: &str,
        fields: &str,
    ) -> (StatusCode, String) {
        let response = self.submit(browser, path, fields).await;
        (response.status(), text(response).await)
    }

    /// So many jobs of a house that are dead, oldest first.
    async fn dead_jobs(&self, house: &House, count: i32) -> Vec<JobId> {
        let payload = json!({});
        let mut jobs = Vec::new();
        for _ in 0..count {
            let job = NewJob::new(house.tenant, "report", &payload);
            jobs.push(self.queue.add(&job).await.expect("a job").job());
        }
        let (worker, tasks) = (Uuid::new_v4(), ["report".to_owned()]);
        let lease = Duration::from_secs(60);
        let claimed = self.queue.claim(worker, &tasks, count, lease).await;
        let ends: Vec<_> = claimed
            .expect("a claim")
            .into_iter()
            .map(|job| Finish {
                hold: job.hold,
                ended: Ended::Dead,
                reason: Some(format!("report {} has no paper", job.hold.job)),
                result: None,
            })
            .collect();
        assert_eq!(ends.len(), jobs.len());
        self.queue.finish(&ends).await.expect("an end");
        jobs
    }

    /// Which of these were replayed, and which are still there.
    async fn replayed_and_kept(&self, jobs: &[JobId]) -> (Vec<JobId>, Vec<JobId>) {
        let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        let rows: Vec<(i64, bool)> = sqlx::query_as(
            "select a.id, exists (select from switchyard.jobs j where j.replay_of = a.id)
             from switchyard.jobs_archive a where a.id = any ($1) order by a.id",
        )
        .bind(ids)
        .fetch_all(&self.rows)
        .await
        .expect("rows");
        let (replayed, kept): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.1);
        let ids = |rows: Vec<(i64, bool)>| rows.into_iter().map(|row| JobId(row.0)).collect();
        (ids(replayed), ids(kept))
    }

    /// The house's job dies.
    async fn dies(&self) {
        let hold = self.claim(&self.acme).await;
        let end = Finish {
            hold,
            ended: Ended::Dead,
            reason: Some("the printer is out of paper".to_owned()),
            result: None,
        };
        self.queue.finish(&[end]).await.expect("an end");
    }
}

#[tokio::test]
async fn every_page_of_the_queue_is_there_for_its_tenant_alone() {
    let served = served().await;
    served.dies().await;
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let stranger = served.sign_in("globex", "Sam", Role::Admin).await;
    for (path, own) in [
        ("/queues", "Queues".to_owned()),
        ("/tasks", "Tasks".to_owned()),
        ("/schedules", "No schedule yet".to_owned()),
        ("/dead", "the printer is out of paper".to_owned()),
    ] {
        for address in [path.to_owned(), format!("{path}?lang=ru")] {
            assert_eq!(served.get(None, &address).await.0, StatusCode::UNAUTHORIZED);
            let (status, page) = served.get(Some(&stranger), &address).await;
            assert_eq!(status, StatusCode::OK, "{address}");
            assert!(
                !page.contains("the printer")
                    && !page.contains(&served.acme.workload.uuid().to_string()),
                "{address}: {page}"
            );
        }
        let (_, page) = served.get(Some(&vic), &format!("{path}?lang=en")).await;
        assert!(page.contains(&own), "{path}: {page}");
        assert!(
            !page.contains("action=\"/pauses\""),
            "a viewer changes nothing"
        );
    }
    let replay = format!("/dead/{}/replay", served.acme.job);
    for path in [replay.as_str(), "/pauses", "/dead/all?deed=replay"] {
        let (status, _) = served.send_form(&vic, path, "kind=pause").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, _) = served.send_form(&stranger, &replay, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another tenant's");
}

#[tokio::test]
async fn a_task_is_paused_with_a_why_and_its_jobs_say_so_until_it_is_resumed() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let (status, _) = served
        .send_form(
            &ann,
            "/pauses",
            "kind=pause&task=task-static&why=the+disk+is+full",
        )
        .await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, page) = served.get(Some(&ann), "/tasks").await;
    assert!(
        page.contains("the disk is full") && page.contains("by Ann"),
        "{page}"
    );
    let (_, page) = served
        .get(Some(&ann), &format!("/jobs/{}", served.acme.job))
        .await;
    assert!(page.contains("is paused by Ann"), "{page}");
    let (_, page) = served.get(Some(&ann), "/tasks").await;
    let resume = page.split("action=\"/pauses/").nth(1).expect("a form");
    let id = resume.split('/').next().expect("an id");
    let (status, _) = served
        .send_form(&ann, &format!("/pauses/{id}/resume"), "back=/tasks")
        .await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, page) = served.get(Some(&ann), "/tasks").await;
    assert!(!page.contains("the disk is full"), "{page}");
}

#[tokio::test]
async fn a_value_that_no_column_takes_is_the_askers_fault() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Admin).await;
    for path in [
        "/dead?task=%00",
        "/dead?reason=a%00b",
        "/dead?since=-200000-01-01T00:00:00Z",
        "/deliveries?vendor=%00",
        "/queues?after=%00",
        "/tasks?after=%00",
    ] {
        let (status, page) = served.get(Some(&ann), path).await;
        assert!(status.is_client_error(), "{path}: {status} {page}");
    }
    for fields in ["task=a%00b", "queue=a%00b", "task=a&why=%00"] {
        let (status, page) = served
            .send_form(&ann, "/pauses", &format!("kind=pause&{fields}"))
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fields}: {page}");
    }
}

#[tokio::test]
async fn a_dead_job_is_replayed_once_and_all_that_match_by_a_job() {
    let served = served().await;
    served.dies().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let replay = format!("/dead/{}/replay", served.acme.job);
    assert_eq!(
        served.send_form(&ann, &replay, "").await.0,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        served.send_form(&ann, &replay, "").await.0,
        StatusCode::SEE_OTHER,
        "to the job that took over"
    );
    let (_, page) = served.get(Some(&ann), "/dead").await;
    assert!(page.contains("No dead job"), "{page}");

    let question = "/dead/all?deed=replay&task=task-static";
    let (status, page) = served.get(Some(&ann), question).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("Replay 0 dead jobs?") && page.contains("task-static"),
        "{page}"
    );
    assert_eq!(
        served.send_form(&ann, question, "").await.0,
        StatusCode::SEE_OTHER
    );
    let asked: i64 = sqlx::query_scalar(
        "select count(*) from switchyard.jobs where task = 'task-bulk' and database_id = $1",
    )
    .bind(served.acme.tenant.uuid())
    .fetch_one(&served.rows)
    .await
    .expect("a count");
    assert_eq!(asked, 1);
    // An operator purges nothing.
    let (status, _) = served.get(Some(&ann), "/dead/all?deed=purge").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_jobs_page_says_how_far_it_is() {
    let served = served().await;
    let payload = json!({});
    let job = NewJob::new(served.acme.tenant, "report", &payload);
    let job = served.queue.add(&job).await.expect("a job").job();
    let claimed = served
        .queue
        .claim(
            uuid::Uuid::new_v4(),
            &["report".to_owned()],
            1,
            std::time::Duration::from_secs(60),
        )
        .await
        .expect("a claim");
    assert_eq!(claimed[0].hold.job, job);
    sqlx::query("update switchyard.jobs set progress = $2 where id = $1")
        .bind(job.0)
        .bind(json!({"done": 3, "of": 12, "message": "counting"}))
        .execute(&served.rows)
        .await
        .expect("a row");
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let (_, page) = served.get(Some(&vic), &format!("/jobs/{job}")).await;
    assert!(
        page.contains("3 of 12") && page.contains("counting"),
        "{page}"
    );
}

/// Where an answer sends to.
fn place(response: &Response<Body>) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let place = response.headers()["location"].to_str();
    place.expect("text").to_owned()
}

#[tokio::test]
async fn those_dead_jobs_that_were_chosen_start_again_and_no_others() {
    let served = served().await;
    let own = served.dead_jobs(&served.acme, 3).await;
    let foreign = served.dead_jobs(&served.globex, 1).await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let list = "/dead?task=report";
    let (_, page) = served.get(Some(&ann), list).await;
    for job in &own {
        let offered = format!("form=\"chosen\" name=\"job\" value=\"{job}\"");
        assert!(page.contains(&offered), "{page}");
    }
    assert!(
        !page.contains("value=\"purge\""),
        "an operator purges nothing"
    );

    let chosen = "/dead/chosen?task=report";
    let fields = format!(
        "deed=replay&job={}&job={}&job={}",
        own[0], own[2], foreign[0]
    );
    let place = place(&served.submit(&ann, chosen, &fields).await);
    assert!(place.starts_with(list), "{place}");
    assert_eq!(
        served.replayed_and_kept(&own).await,
        (vec![own[0], own[2]], vec![own[1]])
    );
    assert_eq!(served.replayed_and_kept(&foreign).await.1, foreign);
    let (_, page) = served.get(Some(&ann), &place).await;
    assert!(
        page.contains("2 jobs start again. 1 was gone already."),
        "{page}"
    );
    let (_, page) = served.get(Some(&ann), &format!("{place}&lang=ru")).await;
    assert!(page.contains("2 задания начнутся снова."), "{page}");
}

#[tokio::test]
async fn nothing_is_done_to_dead_jobs_without_a_choice_a_role_or_a_deed() {
    let served = served().await;
    let own = served.dead_jobs(&served.acme, 1).await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let (_, page) = served.get(Some(&vic), "/dead").await;
    assert!(!page.contains("type=\"checkbox\""), "{page}");
    let all: String = (0..101).map(|job| format!("&job={job}")).collect();
    let one = format!("job={}", own[0]);
    for (who, fields, status) in [
        (
            &ann,
            "deed=replay".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (&ann, one.clone(), StatusCode::UNPROCESSABLE_ENTITY),
        (
            &ann,
            format!("deed=burn&{one}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            &ann,
            format!("deed=replay&{one}&job=x"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            &ann,
            format!("deed=replay{all}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            &ann,
            format!("deed=purge&sure=yes&{one}"),
            StatusCode::FORBIDDEN,
        ),
        (&vic, format!("deed=replay&{one}"), StatusCode::FORBIDDEN),
    ] {
        let answer = served
            .send_form(who, "/dead/chosen?task=report", &fields)
            .await;
        assert_eq!(answer.0, status, "{fields}");
    }
    let (_, page) = served
        .send_form(&ann, "/dead/chosen?task=report", "deed=replay")
        .await;
    assert!(
        page.contains("None was chosen") && page.contains("has no paper"),
        "the list is there still: {page}"
    );
    let question = format!("/dead/chosen?deed=purge&{one}");
    let (status, _) = served.get(Some(&ann), &question).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(served.replayed_and_kept(&own).await, (vec![], own));
}

#[tokio::test]
async fn dead_jobs_that_were_chosen_are_forgotten_after_a_question() {
    let served = served().await;
    let own = served.dead_jobs(&served.acme, 3).await;
    let foreign = served.dead_jobs(&served.globex, 1).await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let fields = format!("deed=purge&job={}&job={}", own[0], own[1]);
    let chosen = "/dead/chosen?task=report";
    let question = place(&served.submit(&ada, chosen, &fields).await);
    assert_eq!(served.replayed_and_kept(&own).await.1, own, "only asked");
    let (status, page) = served.get(Some(&ada), &question).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("Purge 2 dead jobs?") && page.contains(&format!("/jobs/{}", own[1])),
        "{page}"
    );
    let fields = format!("{fields}&job={}&sure=yes", foreign[0]);
    let place = place(&served.submit(&ada, chosen, &fields).await);
    let (_, page) = served.get(Some(&ada), &place).await;
    assert!(
        page.contains("2 jobs are forgotten. 1 was gone already."),
        "{page}"
    );
    assert_eq!(served.replayed_and_kept(&own).await.1, [own[2]]);
    assert_eq!(served.replayed_and_kept(&foreign).await.1, foreign);
}

#[tokio::test]
async fn the_lists_of_the_queue_change_under_the_readers_eyes() {
    let served = served().await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let mut tasks = Stream::open(&served, &ann, "/live/tasks", None).await;
    tasks.until("hx-target=\"#lanes\"").await;
    let mut queues = Stream::open(&served, &ann, "/live/queues", None).await;
    queues.until("hx-target=\"#lanes\"").await;
    let mut dead = Stream::open(&served, &ann, "/live/dead?task=report", None).await;
    dead.until("No dead job matches").await;

    let pause = "kind=pause&task=task-static&why=the+disk+is+full";
    served.send_form(&ann, "/pauses", pause).await;
    tasks.until("the disk is full").await;
    let drain = "kind=drain&queue=nightly&why=no+more";
    served.send_form(&ann, "/pauses", drain).await;
    queues.until("no more").await;
    served.dead_jobs(&served.globex, 1).await;
    let own = served.dead_jobs(&served.acme, 1).await;
    let said = dead.until("has no paper").await;
    assert!(said.contains(&format!("id=\"job-{}\"", own[0])), "{said}");
    assert_eq!(said.matches("has no paper").count(), 1, "one's own: {said}");
}

#[tokio::test]
async fn a_jobs_stream_tells_how_far_it_is_and_what_came_of_it() {
    let served = served().await;
    let hold = served.claim(&served.acme).await;
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let address = format!("/live/jobs/{}", served.acme.job);
    let mut stream = Stream::open(&served, &vic, &address, None).await;
    stream.until("No result").await;
    sqlx::query("update switchyard.jobs set progress = $2 where id = $1")
        .bind(served.acme.job.0)
        .bind(json!({"done": 3, "of": 12, "message": "counting"}))
        .execute(&served.rows)
        .await
        .expect("a row");
    stream.until("3 of 12").await;
    let end = Finish {
        hold,
        ended: Ended::Succeeded,
        reason: None,
        result: Some(json!({"counted": 12})),
    };
    served.queue.finish(&[end]).await.expect("an end");
    let said = stream.until("event: finished").await;
    assert!(said.contains("counted"), "{said}");
}
