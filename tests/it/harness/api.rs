//! The API as an admin of the first tenant asks it.

use std::time::Duration;

use database::{Connect, TenantDb};
use model::{DatabaseRole, Role};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use store::people;

use super::{Installation, client};

/// Somebody who may do everything.
pub(crate) struct Api {
    client: Client,
    root: String,
    token: String,
    tenant: String,
}

impl Api {
    /// Signs somebody in.
    pub(super) async fn of(it: &Installation) -> Self {
        let mut owner = it.rows().acquire().await.expect("a connection");
        let tenant: String = sqlx::query_scalar("select name from switchyard.tenants")
            .fetch_one(&mut *owner)
            .await
            .expect("the first tenant");
        let member = people::ensure_member(&mut owner, &tenant, "Ann", Role::Admin).await;
        let (_, person) = member.expect("an admin");
        let link = people::create_sign_in_link(&mut owner, person).await;
        drop(owner);
        let tenants = TenantDb::new(&Connect {
            url: it.database_url().into(),
            role: DatabaseRole::Tenant,
            connections_max: 1,
            acquire_timeout: Duration::from_secs(20),
        });
        let tenants = tenants.expect("a URL");
        let session = people::open_session(&tenants, &link.expect("a link")).await;
        let session = session.expect("an answer").expect("a session");
        Self {
            client: client(),
            root: it.portal(""),
            token: session.expose().to_owned(),
            tenant,
        }
    }

    /// Asks for something, and returns the status with what was said.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let request = self
            .client
            .request(method, format!("{}/api{path}", self.root))
            .bearer_auth(&self.token)
            .query(&[("tenant", &self.tenant)]);
        answered(request, body).await
    }

    /// Makes something, and returns what was made.
    pub(crate) async fn make(&self, path: &str, what: Value) -> Value {
        let (status, made) = self.send(Method::POST, path, Some(what)).await;
        assert_eq!(status, 201, "{path}: {made}");
        made
    }

    /// Asks the backend of a state as one's own terraform would.
    pub(crate) async fn backend(
        &self,
        method: &str,
        state: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}/terraform-state/{}/{state}", self.root, self.tenant);
        let request = self.client.request(method, url);
        answered(request.basic_auth("token", Some(&self.token)), body).await
    }
}

async fn answered(mut request: RequestBuilder, body: Option<Value>) -> (u16, Value) {
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}
