//! What every function that hears of pushes does with one, served on a database.

use host::Function;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use webhook::conformance::{Dialect, signed};

use crate::Served;

/// A push as its sender sends it, and what it becomes.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// How it is signed.
    pub dialect: Dialect,
    /// The event, as the sender's header names it.
    pub event: &'a str,
    /// Its body.
    pub body: &'static str,
    /// The sender, as it is stored.
    pub vendor: &'a str,
    /// The event, as it is stored.
    pub stored_event: &'a str,
    /// The id by which it is told from others.
    pub key: &'a str,
    /// The types of its events, by name.
    pub types: &'a [&'a str],
    /// The header of the proof, and a value that proves nothing.
    pub wrong_proof: (&'static str, &'static str),
}

impl Push<'_> {
    fn headers(&self) -> HeaderMap {
        signed(self.dialect, self.event, self.body.as_bytes())
    }

    /// It is taken under its name; the second time it is a duplicate, and makes nothing.
    pub async fn is_taken_once(&self, function: &Function) {
        let it = Served::new(function).await;
        let path = format!("/{}", it.git_trigger().await);
        let answer = it.post(&path, self.headers(), self.body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        let count = json!(self.types.len());
        assert_eq!(answer.body["events"], count, "{}", answer.body);
        let again = it.post(&path, self.headers(), self.body).await;
        assert_eq!(
            (again.status, &again.body["verdict"]),
            (StatusCode::OK, &json!("duplicate"))
        );
        let stored: (String, String, String) = sqlx::query_as(
            "select vendor, vendor_event, delivery_key from switchyard.deliveries order by id limit 1",
        )
        .fetch_one(&it.rows)
        .await
        .expect("a delivery");
        let stored = (&*stored.0, &*stored.1, &*stored.2);
        assert_eq!(stored, (self.vendor, self.stored_event, self.key));
        let types: Vec<String> =
            sqlx::query_scalar("select type from switchyard.events order by type")
                .fetch_all(&it.rows)
                .await
                .expect("rows");
        assert_eq!(types, self.types);
    }

    /// With a wrong proof it is refused and counted, and what is kept of it shows no proof.
    pub async fn is_refused_without_its_proof(&self, function: &Function) {
        let it = Served::new(function).await;
        let path = format!("/{}", it.git_trigger().await);
        let (header, value) = self.wrong_proof;
        let mut headers = self.headers();
        headers.insert(header, value.parse().expect("a header's value"));
        let answer = it.post(&path, headers, self.body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let counted: i64 =
            sqlx::query_scalar("select sum(count)::bigint from switchyard.rejections")
                .fetch_one(&it.rows)
                .await
                .expect("a count");
        assert_eq!(counted, 1);
        let kept: String = sqlx::query_scalar("select headers::text from switchyard.deliveries")
            .fetch_one(&it.rows)
            .await
            .expect("a sample");
        assert!(kept.contains(&format!("\"{header}\": \"***\"")), "{kept}");
    }
}
