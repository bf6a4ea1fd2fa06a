//! Queues, tasks, schedules and dead jobs, by whom they may be seen and changed.

use ::queue::{Ended, Finish, NewJob};
use http::StatusCode;
use model::Role;
use serde_json::json;

use super::{Browser, Served, form, served, text};

impl Served {
    /// A form of a page of ours with fields.
    async fn send_form(&self, browser: &Browser, path: &str, fields: &str) -> (StatusCode, String) {
        let body = format!("csrf={}&{fields}", browser.csrf);
        let mut request = form(browser, path, &body);
        request.headers_mut().insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        let response = self.send(request).await;
        (response.status(), text(response).await)
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
