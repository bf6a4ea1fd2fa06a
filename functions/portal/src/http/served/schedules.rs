//! Schedules as people declare and change them.

use http::StatusCode;
use model::Role;
use serde_json::{Value, json};

use super::{Browser, Served, Stream, form, served};

/// A form's fields with some of them otherwise.
fn with(fields: &[(&str, &str)]) -> String {
    let usual = [
        ("do", "save"),
        ("name", "nightly"),
        ("task", "report"),
        ("rule_as", "fields"),
        ("rule", "30 2 * * *"),
        ("time_zone", "Europe/Paris"),
        ("missed", "all"),
        ("jitter_secs", "60"),
        ("payload", "{\"full\": true}"),
        ("priority", "-1"),
        ("key", "report"),
    ];
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in usual {
        let changed = fields.iter().find(|(changed, _)| *changed == name);
        form.append_pair(name, changed.map_or(value, |(_, value)| value));
    }
    for (name, value) in fields {
        if !usual.iter().any(|(known, _)| known == name) {
            form.append_pair(name, value);
        }
    }
    form.finish()
}

impl Served {
    /// All schedules there are, of every tenant.
    async fn schedules(&self) -> Vec<Value> {
        sqlx::query_scalar("select to_jsonb(s) from switchyard.schedules s order by s.id")
            .fetch_all(&self.rows)
            .await
            .expect("rows")
    }

    /// Saves a schedule; its page.
    async fn saves(&self, browser: &Browser, path: &str, fields: &str) -> String {
        let response = self.submit(browser, path, fields).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let place = response.headers()["location"].to_str();
        place.expect("text").to_owned()
    }
}

#[tokio::test]
async fn a_schedule_is_declared_changed_and_removed_by_its_form() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let (status, page) = served.get(Some(&ada), "/schedules/new").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Write a rule to see when it ticks"), "{page}");
    let place = served.saves(&ada, "/schedules", &with(&[])).await;
    let rows = served.schedules().await;
    assert_eq!(rows.len(), 1);
    for (name, value) in [
        ("database_id", json!(served.acme.tenant.uuid())),
        ("name", json!("nightly")),
        ("task", json!("report")),
        ("schedule_info", json!({"rule": "30 2 * * *"})),
        ("time_zone", json!("Europe/Paris")),
        ("missed", json!("all")),
        ("jitter", json!("00:01:00")),
        ("payload", json!({"full": true})),
        ("priority", json!(-1)),
        ("attempts_max", Value::Null),
        ("queue_name", Value::Null),
        ("key", json!("report")),
        ("created_by", json!("Ada")),
    ] {
        assert_eq!(rows[0][name], value, "{name}");
    }
    assert!(rows[0]["next_at"].is_string(), "it was planned");

    let (_, page) = served.get(Some(&ada), &format!("{place}/edit")).await;
    for shown in ["value=\"nightly\"", "value=\"30 2 * * *\"", "02:30:00"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let changed = with(&[
        ("rule", " 0 4 * * 1 "),
        ("start", "2026-01-01T00:00"),
        ("time_zone", ""),
        ("queue", "nightly reports"),
        ("attempts_max", "3"),
    ]);
    assert_eq!(served.saves(&ada, &place, &changed).await, place);
    let rows = served.schedules().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0]["schedule_info"],
        json!({"rule": "0 4 * * 1", "start": "2026-01-01T00:00"})
    );
    assert_eq!(
        (&rows[0]["time_zone"], &rows[0]["attempts_max"]),
        (&Value::Null, &json!(3))
    );
    let (_, page) = served.get(Some(&ada), &place).await;
    assert!(page.contains("nightly reports"), "{page}");

    served.saves(&ada, &format!("{place}/remove"), "").await;
    assert_eq!(served.schedules().await, Vec::<Value>::new());
    let (status, _) = served.get(Some(&ada), &place).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field_and_nothing_is_written() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let json = |rule: &'static str| vec![("rule_as", "json"), ("rule_json", rule)];
    for (fields, at, words) in [
        (vec![("name", " ")], "name", "write 1 to 200 characters"),
        (vec![("task", "")], "task", "write 1 to 126 characters"),
        (vec![("rule", "")], "rule", "a cron rule has five fields"),
        (
            vec![("rule", "61 * * * *")],
            "rule",
            "the minute, &quot;61&quot;, is wrong",
        ),
        (
            vec![("rule", "2020-01-01T00:00:00Z")],
            "rule",
            "this never comes",
        ),
        (
            vec![("start", "soon")],
            "start",
            "start is &quot;soon&quot;",
        ),
        (
            vec![("end", "2020-01-01T00:00")],
            "rule",
            "this never comes",
        ),
        (vec![("time_zone", "Paris")], "time_zone", "Europe/Paris"),
        (
            vec![("jitter_secs", "90000")],
            "jitter_secs",
            "86400, a day, is the most",
        ),
        (
            vec![("jitter_secs", "-1")],
            "jitter_secs",
            "write a whole number",
        ),
        (
            vec![("priority", "high")],
            "priority",
            "write a whole number",
        ),
        (
            vec![("attempts_max", "0")],
            "attempts_max",
            "one try is the least",
        ),
        (
            vec![("payload", "{\n  a")],
            "payload",
            "no JSON from line 2, column 3",
        ),
        (
            vec![("payload", "{\"a\": \"\\u0000\"}")],
            "payload",
            "NUL is refused",
        ),
        (vec![("key", "a\0b")], "key", "NUL is refused"),
        (json("{"), "rule_json", "no JSON from line 1"),
        (
            json("{\"hours\": 1}"),
            "rule_json",
            "a rule has no &quot;hours&quot;",
        ),
        (
            json("{\"rule\": \"0 0 * * *\", \"end\": \"late\"}"),
            "rule_json",
            "end is &quot;late&quot;",
        ),
    ] {
        let form = with(&fields);
        for deed in ["save", "check"] {
            let form = form.replace("do=save", &format!("do={deed}"));
            let (status, page) = served.send_form(&ada, "/schedules?lang=en", &form).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
            let error = format!("id=\"{at}-error\"");
            let said = page
                .split(&error)
                .nth(1)
                .unwrap_or_else(|| panic!("{at}: {page}"));
            let said = said.split("</p>").next().expect("an end");
            assert!(said.contains(words), "{fields:?}: {said}");
            let errors = page.matches("class=\"field-error\" id=").count();
            assert_eq!(errors, 1, "{fields:?}: {page}");
            let (_, page) = served.send_form(&ada, "/schedules?lang=ru", &form).await;
            let said = page.split(&error).nth(1).expect("the same field");
            let said = said.split("</p>").next().expect("an end");
            assert!(said.chars().any(|c| ('а'..='я').contains(&c)), "{said}");
        }
    }
    for fields in [[("do", "burn")], [("missed", "some")]] {
        let (status, _) = served.send_form(&ada, "/schedules", &with(&fields)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
    }
    assert_eq!(served.schedules().await, Vec::<Value>::new());
    // All at once: what was written is there still.
    let all = with(&[("name", ""), ("priority", "x"), ("rule", "61 * * * *")]);
    let (_, page) = served.send_form(&ada, "/schedules?lang=en", &all).await;
    for shown in [
        "id=\"name-error\"",
        "id=\"priority-error\"",
        "id=\"rule-error\"",
        "value=\"61 * * * *\"",
        "{&quot;full&quot;: true}",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(
        page.matches(" autofocus").count(),
        1,
        "one is first: {page}"
    );
}

#[tokio::test]
async fn ticks_are_shown_before_anything_is_saved() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let form = with(&[("rule", "30 2 * 7 *"), ("do", "check")]);
    let (status, page) = served.send_form(&ada, "/schedules?lang=en", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("<html") && page.contains("As clocks show it in Europe/Paris"),
        "{page}"
    );
    assert_eq!(page.matches("class=\"tick\">").count(), 5, "{page}");
    assert_eq!(page.matches("02:30:00</span>").count(), 5, "{page}");
    assert!(page.contains("+02:00"), "summer there: {page}");

    // Something else being wrong does not hide them.
    let form = with(&[("rule", "30 2 * 7 *"), ("name", "")]);
    let (status, part) = served
        .send_form(&ada, "/schedules/preview?lang=en", &form)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        part.starts_with("<section id=\"preview\"") && part.contains("+02:00"),
        "{part}"
    );
    let form = with(&[("rule", "* *")]);
    let (status, part) = served
        .send_form(&ada, "/schedules/preview?lang=en", &form)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(part.contains("a cron rule has five fields"), "{part}");
    assert_eq!(served.schedules().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_rule_of_any_shape_comes_back_from_its_form_as_it_was() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let rules = [
        json!({"rule": {"hour": [9, {"start": 12, "end": 18, "step": 3}], "recurs": true}, "tz": "Europe/Paris"}),
        json!({"hour": 9, "minute": 30, "tz": "Europe/Paris"}),
        json!({"rule": "0 9 * * *", "start": 1_700_000_000_000_i64}),
        json!({"rule": "0 9 * * *", "start": null}),
        json!("0 9 * * 1"),
    ];
    for rule in &rules {
        let name = rule.to_string();
        let form = with(&[
            ("name", &name),
            ("key", ""),
            ("time_zone", ""),
            ("rule_as", "json"),
            ("rule_json", &name),
        ]);
        let place = served.saves(&ada, "/schedules", &form).await;
        let before = served.schedules().await.pop().expect("it is there");
        assert_eq!(&before["schedule_info"], rule);
        // What its form shows is sent back by its button.
        let (_, page) = served.get(Some(&ada), &format!("{place}/edit")).await;
        served.saves(&ada, &place, &shown(&page)).await;
        let after = served.schedules().await.pop().expect("it is there");
        for part in [
            "schedule_info",
            "payload",
            "next_at",
            "name",
            "time_zone",
            "key",
        ] {
            assert_eq!(after[part], before[part], "{part} of {rule}");
        }
    }
}

/// The fields of a form as a browser sends them.
fn shown(page: &str) -> String {
    let form = page
        .split("<form class=\"schedule-form\"")
        .nth(1)
        .expect("a form");
    let form = form.split("</form>").next().expect("an end");
    let plain = |text: &str| {
        let text = text.replace("&quot;", "\"").replace("&lt;", "<");
        text.replace("&gt;", ">").replace("&amp;", "&")
    };
    let after = |text: &str, mark: &str| {
        let rest = text.split(mark).nth(1)?;
        Some(plain(rest.split('"').next().expect("an end")))
    };
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for tag in form.split('<') {
        let Some(name) = after(tag, " name=\"") else {
            continue;
        };
        if tag.starts_with("input") && name != "csrf" {
            fields.append_pair(&name, &after(tag, " value=\"").unwrap_or_default());
        } else if tag.starts_with("textarea") {
            let text = tag.split_once('>').expect("a tag ends").1;
            fields.append_pair(&name, &plain(text));
        }
    }
    let chosen = form.split(" selected").next().expect("a choice");
    let missed = chosen.rsplit("value=\"").next().expect("a value");
    fields.append_pair("missed", missed.split('"').next().expect("an end"));
    fields.append_pair("do", "save");
    fields.finish()
}

#[tokio::test]
async fn fields_become_json_and_back_without_being_saved() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let form = with(&[("do", "json"), ("end", "2030-01-01T00:00")]);
    let (status, page) = served.send_form(&ada, "/schedules?lang=en", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("&quot;end&quot;: &quot;2030-01-01T00:00&quot;"),
        "{page}"
    );
    let back = shown(&page).replace("do=save", "do=fields");
    let (status, page) = served.send_form(&ada, "/schedules?lang=en", &back).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("value=\"2030-01-01T00:00\""), "{page}");
    let more = with(&[
        ("do", "fields"),
        ("rule_as", "json"),
        ("rule_json", "{\"hour\": 9, \"recurs\": true}"),
    ]);
    let (status, page) = served.send_form(&ada, "/schedules?lang=en", &more).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.contains("would lose something") && page.contains("&quot;recurs&quot;"),
        "{page}"
    );
    assert_eq!(served.schedules().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_name_is_one_schedules_and_another_tenants_is_free() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let sam = served.sign_in("globex", "Sam", Role::Admin).await;
    served.saves(&ada, "/schedules", &with(&[])).await;
    let before = served.schedules().await;
    let (status, page) = served
        .send_form(&ada, "/schedules?lang=en", &with(&[]))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.contains("id=\"name-error\"")
            && page.contains("there is another schedule with the name &quot;nightly&quot;"),
        "{page}"
    );
    assert_eq!(served.schedules().await, before);
    served.saves(&sam, "/schedules", &with(&[])).await;
    assert_eq!(served.schedules().await.len(), 2);
}

#[tokio::test]
async fn only_an_admin_of_its_tenant_declares_changes_and_removes_a_schedule() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let ann = served.sign_in("acme", "Ann", Role::Operator).await;
    let vic = served.sign_in("acme", "Vic", Role::Viewer).await;
    let sam = served.sign_in("globex", "Sam", Role::Admin).await;
    let place = served.saves(&ada, "/schedules", &with(&[])).await;
    let before = served.schedules().await;
    let (edit, remove) = (format!("{place}/edit"), format!("{place}/remove"));
    let new = with(&[("name", "another"), ("key", "")]);
    for who in [&ann, &vic] {
        for path in ["/schedules/new", &edit] {
            let (status, _) = served.get(Some(who), path).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        }
        for path in ["/schedules", "/schedules/preview", &place, &remove] {
            let (status, _) = served.send_form(who, path, &new).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        }
        for path in ["/schedules", &place] {
            let (status, page) = served.get(Some(who), path).await;
            assert_eq!(status, StatusCode::OK);
            for offer in ["/schedules/new", "/edit", "/remove"] {
                assert!(!page.contains(offer), "{path} offers {offer}");
            }
        }
    }
    let live = format!("/live{place}");
    for path in [&place, &edit, &live] {
        let (status, _) = served.get(Some(&sam), path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        &place,
        &remove,
        &format!("{place}/pause"),
        &format!("{place}/run"),
    ] {
        let (status, _) = served.send_form(&sam, path, &new).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    // Without the session's token, as a page elsewhere would send it.
    for path in ["/schedules", &place, &remove] {
        let mut request = form(&ada, path, &new);
        request.headers_mut().insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        let status = served.send(request).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(served.schedules().await, before);
}

#[tokio::test]
async fn schedules_change_under_the_readers_eyes() {
    let served = served().await;
    let ada = served.sign_in("acme", "Ada", Role::Admin).await;
    let mut list = Stream::open(&served, &ada, "/live/schedules", None).await;
    list.until("No schedule yet").await;
    let place = served.saves(&ada, "/schedules", &with(&[])).await;
    list.until("nightly").await;
    let mut one = Stream::open(&served, &ada, &format!("/live{place}"), None).await;
    one.until("30 2 * * *").await;
    let pause = format!("{place}/pause");
    served.send_form(&ada, &pause, "why=the+paper+is+out").await;
    one.until("the paper is out").await;
    list.until("Paused").await;
}
