//! The function as it is served, on a database: the schemes that are stored with a trigger, and secrets in its path.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::{Scheme, TriggerId, TriggerKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use store::setup::NewTrigger;
use webhook::{PathHash, new_path_secret};

use super::FUNCTION;

const SECRET: &str = "the trigger's secret";

struct Served(webhook_testkit::Served);

async fn served() -> Served {
    Served(webhook_testkit::Served::new(&FUNCTION).await)
}

impl Served {
    async fn trigger(
        &self,
        name: &str,
        scheme: Option<Value>,
        path: Option<&SecretString>,
    ) -> TriggerId {
        let scheme: Option<Scheme> =
            scheme.map(|scheme| serde_json::from_value(scheme).expect("a scheme"));
        let secret = SECRET.into();
        let new = NewTrigger {
            name,
            kind: TriggerKind::Webhook,
            config: Map::new(),
            scheme: scheme.as_ref(),
            secret: path.is_none().then_some(&secret),
            path_sha256: path.map(|path| PathHash::of(path).0),
        };
        self.0.trigger(new).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a header's name");
                let value = HeaderValue::from_str(value).expect("a header's value");
                (name, value)
            })
            .collect();
        let answer = self.0.post(path, headers, body.to_owned()).await;
        (answer.status, answer.body)
    }

    async fn events(&self) -> Vec<(String, String)> {
        sqlx::query_as("select type, subject from switchyard.events order by seq")
            .fetch_all(&self.0.rows)
            .await
            .expect("rows")
    }
}

#[tokio::test]
async fn a_secret_in_the_path_is_stored_as_a_hash_and_nowhere_else() {
    let it = served().await;
    let secret = new_path_secret();
    let text = secret.expose_secret();
    let trigger = it
        .trigger("hub", Some(json!({"kind": "path"})), Some(&secret))
        .await;
    let (status, _) = it
        .post(
            &format!("/{trigger}/{text}"),
            &[],
            r#"{"image":"team/app:v1"}"#,
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    for path in [
        format!("/{trigger}"),
        format!("/{trigger}/x"),
        format!("/{trigger}/{}", text.to_lowercase()),
        format!("/{trigger}/{text}a"),
        format!("/{trigger}/%ff"),
        format!(
            "/{}/{text}",
            TriggerId::from(sqlx::types::Uuid::from_u128(1))
        ),
    ] {
        let (status, body) = it.post(&path, &[("authorization", text)], "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(body["title"], "the delivery is not verified");
    }
    assert_eq!(
        it.events().await,
        [(
            "dev.switchyard.image.pushed.v1".to_owned(),
            "docker.io/team/app:v1".to_owned()
        )]
    );
    let rows: Vec<String> = sqlx::query_scalar(
        "select t::text from switchyard.triggers t union all select d::text from switchyard.deliveries d
         union all select e::text from switchyard.events e union all select r::text from switchyard.rejections r
         union all select o::text from switchyard.outbox o",
    )
    .fetch_all(&it.0.rows)
    .await
    .expect("rows");
    assert!(rows.len() >= 4);
    assert!(
        rows.iter().all(|row| !row.contains(text)),
        "the secret is in a row"
    );
}

#[tokio::test]
async fn the_scheme_that_is_stored_decides() {
    let it = served().await;
    let bearer = it.trigger("bearer", None, None).await;
    let basic = it
        .trigger("basic", Some(json!({"kind": "basic", "user": "ci"})), None)
        .await;
    let secret = format!("Bearer {SECRET}");
    let as_basic = "Basic Y2k6dGhlIHRyaWdnZXIncyBzZWNyZXQ=";
    for (trigger, value, expected) in [
        (bearer, secret.as_str(), StatusCode::ACCEPTED),
        (bearer, as_basic, StatusCode::UNAUTHORIZED),
        (basic, as_basic, StatusCode::ACCEPTED),
        (basic, &secret, StatusCode::UNAUTHORIZED),
    ] {
        let (status, body) = it
            .post(&format!("/{trigger}"), &[("authorization", value)], "")
            .await;
        assert_eq!(status, expected, "{value}: {body}");
    }
    let manual = "dev.switchyard.manual.requested.v1".to_owned();
    let types: Vec<_> = it.events().await.into_iter().map(|event| event.0).collect();
    assert_eq!(types, [manual.clone(), manual]);
}

#[tokio::test]
async fn two_equal_bodies_of_a_plain_job_are_two_deliveries() {
    let it = served().await;
    let trigger = it.trigger("job", None, None).await;
    let path = format!("/{trigger}");
    let secret = ("authorization", SECRET);
    for _ in 0..2 {
        let (status, body) = it.post(&path, &[secret], r#"{"ref":"main"}"#).await;
        assert_eq!(
            (status, &body["verdict"]),
            (StatusCode::ACCEPTED, &json!("accepted"))
        );
    }
    assert_eq!(it.events().await.len(), 2);
    let named = [secret, ("idempotency-key", "1")];
    let first = it.post(&path, &named, r#"{"ref":"main"}"#).await;
    let again = it.post(&path, &named, r#"{"ref":"main"}"#).await;
    let other = it.post(&path, &named, r#"{"ref":"other"}"#).await;
    assert_eq!(
        [first.0, again.0, other.0],
        [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CONFLICT]
    );
    assert_eq!(it.events().await.len(), 3);
}

#[tokio::test]
async fn without_a_proof_only_listed_networks_may_send() {
    let it = served().await;
    let none = json!({"kind": "none", "networks": ["198.51.100.0/24"]});
    let trigger = it.trigger("open", Some(none), None).await;
    let path = format!("/{trigger}");
    for (forwarded, expected) in [
        ("198.51.100.7, 10.0.0.3", StatusCode::ACCEPTED),
        (
            "198.51.100.7, 203.0.113.9, 10.0.0.3",
            StatusCode::UNAUTHORIZED,
        ),
        ("10.0.0.3", StatusCode::UNAUTHORIZED),
    ] {
        let (status, _) = it.post(&path, &[("x-forwarded-for", forwarded)], "").await;
        assert_eq!(status, expected, "{forwarded}");
    }
    assert_eq!(it.post(&path, &[], "").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_secret_that_was_changed_a_moment_ago_counts_at_once() {
    let it = served().await;
    let (old, new) = (new_path_secret(), new_path_secret());
    let trigger = it
        .trigger("job", Some(json!({"kind": "path"})), Some(&old))
        .await;
    let post = async |secret: &SecretString| {
        let path = format!("/{trigger}/{}", secret.expose_secret());
        it.post(&path, &[], "").await.0
    };
    let change = async |statement: &'static str, secret: &SecretString| {
        sqlx::query(statement)
            .bind(PathHash::of(secret).0)
            .execute(&it.0.rows)
            .await
            .expect("the owner may");
    };
    assert_eq!(post(&old).await, StatusCode::ACCEPTED);
    change("update switchyard.triggers set path_sha256 = $1", &new).await;
    // The function remembers the trigger as it was, and stores nothing by that.
    assert_eq!(post(&old).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&new).await, StatusCode::ACCEPTED);
    change(
        "update switchyard.triggers set path_sha256_previous = $1",
        &old,
    )
    .await;
    assert_eq!(post(&old).await, StatusCode::ACCEPTED);
    assert_eq!(it.events().await.len(), 3);

    let used: (bool, bool) = sqlx::query_as(
        "select current_at > now() - interval '1 minute', previous_at > now() - interval '1 minute'
         from switchyard.trigger_health",
    )
    .fetch_one(&it.0.rows)
    .await
    .expect("a row");
    assert_eq!(used, (true, true));
    let causes: Vec<String> = sqlx::query_scalar("select cause from switchyard.rejections")
        .fetch_all(&it.0.rows)
        .await
        .expect("rows");
    assert_eq!(causes, ["other_url"]);
}

#[tokio::test]
async fn a_proof_is_masked_in_whatever_header_it_stands() {
    let it = served().await;
    let scheme = |header: &str| json!({"kind": "token", "header": header});
    // Each is kept where it says something else.
    for header in ["x-attempt-number", "webhook-timestamp"] {
        let trigger = it.trigger(header, Some(scheme(header)), None).await;
        let path = format!("/{trigger}");
        let taken = it.post(&path, &[(header, SECRET)], "").await.0;
        assert_eq!(taken, StatusCode::ACCEPTED, "{header}");
        let almost = format!("{SECRET}!");
        let refused = it.post(&path, &[(header, &almost)], "").await.0;
        assert_eq!(refused, StatusCode::UNAUTHORIZED, "{header}");
        let kept: Vec<Option<String>> = sqlx::query_scalar(
            "select headers ->> $1 from switchyard.deliveries where trigger_id = $2",
        )
        .bind(header)
        .bind(trigger.uuid())
        .fetch_all(&it.0.rows)
        .await
        .expect("rows");
        assert_eq!(kept, [Some("***".to_owned()), Some("***".to_owned())]);
    }
    // What names a delivery or an event is stored as such, and can be no proof.
    for header in ["Idempotency-Key", "webhook-id", "x-github-delivery"] {
        let refused = serde_json::from_value::<Scheme>(scheme(header));
        assert!(refused.is_err(), "{header}");
    }
}
