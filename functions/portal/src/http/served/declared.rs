//! What people declare beside triggers, as they make, change and look at it.

use http::StatusCode;
use model::Role;
use serde_json::{Value, json};

use super::hooks::fields;
use super::{Browser, Served, served, text};

impl Served {
    /// Sends a form, which must end so; and what was answered: the page, or where it goes on.
    async fn sends(
        &self,
        browser: &Browser,
        path: &str,
        pairs: &[(&str, &str)],
        status: StatusCode,
    ) -> String {
        let response = self.submit(browser, path, &fields(pairs)).await;
        let got = response.status();
        let place = response.headers().get("location");
        let place = place.map(|place| place.to_str().expect("text").to_owned());
        let page = text(response).await;
        assert_eq!(got, status, "{path}: {page}");
        place.unwrap_or(page)
    }

    async fn deeds(&self) -> Vec<String> {
        sqlx::query_scalar("select deed from switchyard.audit order by id")
            .fetch_all(&self.rows)
            .await
            .expect("rows")
    }

    async fn row_of(&self, sql: &'static str) -> Value {
        sqlx::query_scalar(sql)
            .fetch_one(&self.rows)
            .await
            .expect("a row")
    }
}

const OTHER: StatusCode = StatusCode::SEE_OTHER;
const WRONG: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

#[tokio::test]
async fn a_log_rule_is_tried_made_turned_off_for_a_workload_and_removed() {
    let it = served().await;
    let ada = it.sign_in("acme", "Ada", Role::Admin).await;
    let (status, page) = it.get(Some(&ada), "/log-rules/new").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("name=\"config.pattern\""), "{page}");
    let rule = [
        ("config.name", "panics"),
        ("config.pattern", r"panicked at (?<place>\S+)"),
        ("config.severity", "error"),
        ("config.cooldown_secs", "60"),
        ("config.enabled", "on"),
        ("sample", "fine\npanicked at main.rs"),
    ];
    let mut tried = rule.to_vec();
    tried.push(("do", "try"));
    let page = it.sends(&ada, "/log-rules", &tried, StatusCode::OK).await;
    assert!(page.contains("1 of 2 lines match"), "{page}");
    assert!(page.contains("main.rs"), "{page}");
    assert!(it.deeds().await.is_empty(), "a trial saves nothing");

    let mut bad = rule.to_vec();
    bad[1].1 = "(";
    let page = it.sends(&ada, "/log-rules", &bad, WRONG).await;
    assert!(
        page.contains("<code>pattern</code>: ") && page.contains("panics"),
        "{page}"
    );
    let page = it.sends(&ada, "/log-rules", &rule, OTHER).await;
    let shown = it.get(Some(&ada), &page).await.1;
    assert!(shown.contains("panicked at"), "{shown}");

    // For one workload it is otherwise, and then no longer.
    let workload = it.acme.workload.to_string();
    let overrides = format!("{page}/overrides");
    let set = [
        ("do", "set"),
        ("workload", workload.as_str()),
        ("severity", "info"),
        ("cooldown_secs", ""),
    ];
    it.sends(&ada, &overrides, &set, OTHER).await;
    let row = "select to_jsonb(o) from switchyard.log_rule_overrides o";
    let row = it.row_of(row).await;
    assert_eq!(
        (&row["enabled"], &row["severity"]),
        (&json!(false), &json!("info"))
    );
    let theirs = it.globex.workload.to_string();
    let stranger = [("do", "set"), ("workload", theirs.as_str())];
    let response = it.submit(&ada, &overrides, &fields(&stranger)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);

    // What is changed keeps what has no field of its own.
    let (_, form) = it.get(Some(&ada), &format!("{page}/edit")).await;
    assert!(form.contains("&quot;overrides&quot;"), "{form}");
    assert!(
        !form.contains("config.workload"),
        "it stays with its workload: {form}"
    );
    let json = json!({
        "name": "panics", "pattern": "panicked", "severity": "warning",
        "overrides": [{"workload": it.acme.workload}], "enabled": false,
    });
    let json = json.to_string();
    let as_json = [("config_as", "json"), ("config_json", json.as_str())];
    it.sends(&ada, &page, &as_json, OTHER).await;
    let row = "select to_jsonb(r) from switchyard.log_rules r";
    let row = it.row_of(row).await;
    assert_eq!(
        (&row["severity"], &row["enabled"]),
        (&json!("warning"), &json!(false))
    );
    let remove = [("do", "remove"), ("workload", workload.as_str())];
    it.sends(&ada, &overrides, &remove, OTHER).await;
    assert_eq!(
        it.row_of("select to_jsonb(count(*)) from switchyard.log_rule_overrides")
            .await,
        json!(0)
    );

    // Others of the tenant see it and change nothing; other tenants do not see it.
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    assert_eq!(it.get(Some(&olga), &page).await.0, StatusCode::OK);
    let response = it.post(&olga, &format!("{page}/remove")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let gus = it.sign_in("globex", "Gus", Role::Admin).await;
    assert_eq!(it.get(Some(&gus), &page).await.0, StatusCode::NOT_FOUND);
    it.sends(&ada, &format!("{page}/remove"), &[], OTHER).await;
    assert_eq!(it.get(Some(&ada), &page).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        it.deeds().await,
        [
            "log_rule_create",
            "log_rule_change",
            "log_rule_change",
            "log_rule_change",
            "log_rule_remove"
        ]
    );
}

#[tokio::test]
async fn the_log_of_events_is_filtered_and_goes_on_page_by_page() {
    let it = served().await;
    let olga = it.sign_in("acme", "Olga", Role::Viewer).await;
    sqlx::query(
        "insert into switchyard.event_log (database_id, at, severity, source, message)
         select $1, now() - n * interval '1 second', case n % 2 when 0 then 'error' else 'info' end, 'test',
             'line ' || n || ' <script>'
         from generate_series(1, 120) n",
    )
    .bind(it.acme.tenant.uuid())
    .execute(&it.rows)
    .await
    .expect("rows");
    let mut path = "/event-log?severity=error".to_owned();
    let mut lines = Vec::new();
    for _ in 0..3 {
        let (status, page) = it.get(Some(&olga), &path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!page.contains("<script>line"), "{page}");
        lines.extend(page.split("line ").skip(1).map(|rest| {
            let number = rest.split(' ').next().expect("a piece");
            number.parse::<u32>().expect("a number")
        }));
        let Some(next) = page
            .split("rel=\"next\"")
            .next()
            .and_then(|before| page.contains("rel=\"next\"").then_some(before.len()))
        else {
            break;
        };
        let around = &page[next.saturating_sub(300)..next + 200];
        let href = around
            .split("href=\"/event-log")
            .nth(1)
            .expect("an address");
        let href = href.split('"').next().expect("a piece");
        path = format!("/event-log{}", href.replace("&amp;", "&"));
    }
    let expected: Vec<u32> = (1..=60).map(|n| n * 2).collect();
    assert_eq!(lines, expected, "each once, in order");
    for wrong in [
        "/event-log?severity=fatal",
        "/event-log?before=x",
        "/event-log?rule=x",
    ] {
        assert_eq!(
            it.get(Some(&olga), wrong).await.0,
            StatusCode::NOT_FOUND,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_shows_its_secret_once_is_tried_switched_and_told_by_a_rule() {
    let it = served().await;
    let ada = it.sign_in("acme", "Ada", Role::Admin).await;
    let inside = [
        ("config.name", "chat"),
        ("config.url", "https://10.0.0.1/hook"),
        ("config.format", "slack"),
        ("config.enabled", "on"),
    ];
    let page = it
        .sends(&ada, "/notification-endpoints", &inside, WRONG)
        .await;
    assert!(page.contains("egress denied"), "{page}");
    let mut outside = inside;
    outside[1].1 = "https://chat.example.com/hooks/t0ken";
    let page = it
        .sends(
            &ada,
            "/notification-endpoints",
            &outside,
            StatusCode::CREATED,
        )
        .await;
    assert!(page.contains("whsec_"), "{page}");
    let id: uuid::Uuid = sqlx::query_scalar("select id from switchyard.notification_endpoints")
        .fetch_one(&it.rows)
        .await
        .expect("an endpoint");
    let path = format!("/notification-endpoints/{id}");
    let (_, page) = it.get(Some(&ada), &path).await;
    assert!(!page.contains("whsec_"), "not twice");
    assert!(
        !page.contains("t0ken"),
        "the path of its URL is a secret: {page}"
    );
    let page = it
        .sends(&ada, &format!("{path}/secret"), &[], StatusCode::OK)
        .await;
    assert!(
        page.contains("whsec_") && page.contains("good until"),
        "{page}"
    );

    let id = id.to_string();
    let rule = [
        ("config.name", "dead jobs"),
        ("config.endpoint", id.as_str()),
        ("config.types", "dev.switchyard.job.*"),
        ("config.severity", "warning"),
        ("config.condition", "event.data.state == 'dead'"),
        ("config.enabled", "on"),
    ];
    let mut bad = rule;
    bad[4].1 = "event.(";
    let page = it.sends(&ada, "/notification-rules", &bad, WRONG).await;
    assert!(
        page.contains("<code>condition</code>: ") && page.contains("event.("),
        "{page}"
    );
    it.sends(&ada, "/notification-rules", &rule, OTHER).await;
    let row = it
        .row_of("select to_jsonb(r) from switchyard.notification_rules r")
        .await;
    assert_eq!(row["condition"]["language"], "cel");
    let rule_id = row["id"].as_str().expect("an id").to_owned();
    let (_, page) = it.get(Some(&ada), &path).await;
    assert!(
        page.contains("dead jobs") && page.contains("severity ≥ warning"),
        "{page}"
    );

    // A trial is a message like any other: its page says what becomes of it.
    let message = it.sends(&ada, &format!("{path}/test"), &[], OTHER).await;
    let (_, page) = it.get(Some(&ada), &message).await;
    assert!(page.contains("notification.endpoint.tested"), "{page}");
    let again = it.submit(&ada, &format!("{path}/test"), "").await;
    assert_eq!(again.status(), StatusCode::CONFLICT, "one at a time");
    sqlx::query("update switchyard.notifications set state = 'failed', ended_at = now()")
        .execute(&it.rows)
        .await
        .expect("an end");
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    let once_more = it
        .sends(&olga, &format!("{message}/redeliver"), &[], OTHER)
        .await;
    assert_ne!(once_more, message);
    let (_, page) = it.get(Some(&olga), "/notifications").await;
    assert_eq!(page.matches("href=\"/notifications/").count(), 2, "{page}");

    it.sends(&ada, &format!("{path}/disable"), &[], OTHER).await;
    let off = it.submit(&ada, &format!("{path}/test"), "").await;
    assert_eq!(off.status(), StatusCode::CONFLICT);
    it.sends(&ada, &format!("{path}/enable"), &[], OTHER).await;
    let remove = format!("/notification-rules/{rule_id}/remove");
    it.sends(&ada, &remove, &[], OTHER).await;
    let response = it.post(&olga, &format!("{path}/remove")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    it.sends(&ada, &format!("{path}/remove"), &[], OTHER).await;
    assert_eq!(it.get(Some(&ada), &path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_trigger_shows_what_is_looked_at_for_it_and_a_silent_hook() {
    let it = served().await;
    let ada = it.sign_in("acme", "Ada", Role::Admin).await;
    let trigger = it.own_trigger().await;
    let path = format!("/triggers/{trigger}");
    let (_, page) = it.get(Some(&ada), &path).await;
    assert!(page.contains("Nothing is looked at"), "{page}");
    let watch = format!("{path}/watch");
    let wanted = [
        ("config.url", "https://git.example.com/acme/site.git"),
        ("config.interval_secs", "5"),
    ];
    let page = it.sends(&ada, &watch, &wanted, WRONG).await;
    assert!(
        page.contains("<code>interval_secs</code>: <span lang=\"en\">it is 60 to 86400"),
        "{page}"
    );
    let mut right = wanted;
    right[1].1 = "600";
    it.sends(&ada, &watch, &right, OTHER).await;
    sqlx::query(
        "insert into switchyard.seen (database_id, trigger_id, name, state, told_by, at, silent_at)
         select database_id, trigger_id, 'refs/heads/main', repeat('b', 40), 'look', now(), now() from switchyard.watches",
    )
    .execute(&it.rows)
    .await
    .expect("a state");
    let (_, page) = it.get(Some(&ada), &path).await;
    for piece in [
        "git.example.com/acme/site.git",
        "10 min",
        "Is the hook still set up",
    ] {
        assert!(page.contains(piece), "{piece}: {page}");
    }
    // A dry run of a push that a look has found says so, as dispatch does.
    let tried = |after: &str| {
        let data = json!({
            "vendor": "gitea", "repository": {"path": "acme/hello"}, "ref_name": "refs/heads/main", "branch": "main",
            "before": null, "after": after, "changed_paths": {"are": "unknown", "reason": "a first push"},
        });
        fields(&[
            ("type", "dev.switchyard.git.pushed.v1"),
            ("data", &data.to_string()),
        ])
    };
    let dry_run = format!("{path}/dry-run");
    let again = it.submit(&ada, &dry_run, &tried(&"b".repeat(40))).await;
    let again = text(again).await;
    assert!(
        again.contains(&format!("a look found {}", "b".repeat(40))),
        "{again}"
    );
    assert!(!again.contains("Would match"), "{again}");
    let other = text(it.submit(&ada, &dry_run, &tried(super::COMMIT)).await).await;
    assert!(other.contains("Would match"), "{other}");
    let olga = it.sign_in("acme", "Olga", Role::Operator).await;
    it.sends(&olga, &format!("{watch}/look"), &[], OTHER).await;
    let response = it.post(&olga, &format!("{watch}/remove")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    it.sends(&ada, &format!("{watch}/remove"), &[], OTHER).await;
    assert_eq!(
        it.deeds().await,
        ["watch_change", "watch_look", "watch_remove"]
    );
    let (status, _) = it.get(Some(&ada), "/credentials").await;
    assert_eq!(status, StatusCode::OK);
}
