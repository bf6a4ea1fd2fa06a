//! Who asks, of which tenant, for which piece of a list, and with which body.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use database::TenantTx;
use host::{BodyError, Ctx, Metrics};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use model::{Role, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::pages::{BindingShown, ROWS_MAX};
use store::people::{self, Membership, Session, Token};

use crate::problem::Problem;

/// The portal's cookie: under https, and on one machine without it.
const COOKIES: [&str; 2] = ["__Host-switchyard_session", "switchyard_session"];

/// How many rows a piece has when nobody says.
const ROWS_DEFAULT: usize = 50;

/// How many bytes of a cursor's MAC it carries: enough that nobody guesses one.
const MAC_BYTES: usize = 16;

/// The largest body; a job's payload fits.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// A request by somebody who may read this tenant.
pub(crate) struct Asked {
    ctx: Ctx,
    tenant: TenantId,
    role: Role,
    who: String,
    /// Kept to ask again whether it is still good, in long requests.
    token: Token,
    /// A browser sends a cookie for whoever makes it ask, but this header only for those who know the token.
    by_header: bool,
    path: String,
    query: Vec<(String, String)>,
}

/// A piece of a list.
#[derive(Serialize)]
pub(crate) struct Piece<T> {
    pub(crate) items: Vec<T>,
    /// The cursor of the piece after it; nothing when this is the last one.
    pub(crate) next: Option<String>,
}

impl FromRequestParts<Ctx> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ctx: &Ctx) -> Result<Self, Problem> {
        let token = token(&parts.headers).ok_or(Problem::Unauthorized)?;
        let session = people::session(ctx.tenants(), &token)
            .await?
            .ok_or(Problem::Unauthorized)?;
        let Query(mut query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::BadQuery("the query is not name=value pairs".to_owned()))?;
        let name = taken(&mut query, "tenant")?;
        let member = member(&session, name.as_deref())?;
        Ok(Self {
            ctx: ctx.clone(),
            tenant: member.tenant,
            role: member.role,
            who: session.name.clone(),
            token,
            by_header: parts.headers.contains_key(AUTHORIZATION),
            path: parts.uri.path().to_owned(),
            query,
        })
    }
}

/// The session's token: the header's, or else the cookie's.
fn token(headers: &HeaderMap) -> Option<Token> {
    if let Some(given) = headers.get(AUTHORIZATION) {
        let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| Token::presented(token.trim()));
    }
    let cookies: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .collect();
    COOKIES.iter().find_map(|wanted| {
        let (_, value) = cookies.iter().find(|(name, _)| name == wanted)?;
        Some(Token::presented(value))
    })
}

/// A parameter's value, which is then dealt with.
fn taken(query: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, Problem> {
    let mut values = query.extract_if(.., |(given, _)| given == name);
    match (values.next(), values.next()) {
        (given, None) => Ok(given.map(|(_, value)| value)),
        (_, Some(_)) => Err(Problem::BadQuery(format!("{name} is there more than once"))),
    }
}

/// The membership in the tenant of this name, or the only one.
fn member<'a>(session: &'a Session, name: Option<&str>) -> Result<&'a Membership, Problem> {
    match (name, &session.memberships[..]) {
        (Some(name), all) => all
            .iter()
            .find(|member| member.tenant_name == name)
            .ok_or(Problem::NotFound),
        (None, [only]) => Ok(only),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|member| &*member.tenant_name).collect();
            Err(Problem::BadQuery(format!(
                "say which tenant with ?tenant=, one of: {}",
                names.join(", ")
            )))
        }
    }
}

impl Asked {
    /// What the function may use.
    pub(crate) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Whose things are asked for.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What this function counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.ctx.metrics()
    }

    /// Whether who asks still has a session, and is still a member of the tenant.
    pub(crate) async fn may_still_read(&self) -> Result<bool, Problem> {
        let session = people::session(self.ctx.tenants(), &self.token).await?;
        Ok(session.is_some_and(|session| session.is_member_of(self.tenant)))
    }

    /// Whether who asks may see what only admins may.
    pub(crate) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// The payload that a schedule or a binding gives to jobs of a task, as who asks may see it: who writes it sees it whole.
    pub(crate) fn payload(&self, task: &str, payload: Value) -> Value {
        if self.is_admin() {
            payload
        } else {
            runs::masked(task, payload, &[])
        }
    }

    /// The same for what a binding gives.
    pub(crate) fn hide(&self, binding: &mut BindingShown) {
        if let (Some(task), Some(payload)) = (&binding.task, binding.payload.take()) {
            binding.payload = Some(self.payload(task, payload));
        }
    }

    /// A parameter as one of our words.
    pub(crate) fn parsed<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        taken(&mut self.query, name)?
            .map(|value| {
                value
                    .parse()
                    .map_err(|error| Problem::BadQuery(format!("{name}: {error}")))
            })
            .transpose()
    }

    /// Refuses parameters that nobody asked for, so that a misspelt one is not taken for none.
    pub(crate) fn nothing_more(&self) -> Result<(), Problem> {
        match self.query.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                Err(Problem::BadQuery(format!("{name:?} is no parameter here")))
            }
        }
    }

    /// Who changes something, if they may: with this role at least, and with a token that no other site can send for them.
    pub(crate) fn may(&self, role: Role) -> Result<&str, Problem> {
        self.nothing_more()?;
        if !self.by_header {
            return Err(Problem::Forbidden(
                "a cookie alone changes nothing here: send the token as Authorization: Bearer"
                    .to_owned(),
            ));
        }
        if self.role < role {
            return Err(Problem::Forbidden(format!(
                "you are {} here, and this takes {}; ask an admin of the tenant",
                self.role.as_str(),
                role.as_str()
            )));
        }
        Ok(&self.who)
    }

    /// Where a piece of a list begins, and how many rows it has.
    pub(crate) fn piece<T: FromStr>(&mut self) -> Result<(Option<T>, usize), Problem> {
        let limit = match taken(&mut self.query, "limit")? {
            None => ROWS_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=ROWS_MAX).contains(limit))
                .ok_or_else(|| Problem::BadQuery(format!("limit must be 1 to {ROWS_MAX}")))?,
        };
        let place = match taken(&mut self.query, "cursor")? {
            None => None,
            Some(cursor) => Some(self.place(&cursor)?),
        };
        self.nothing_more()?;
        Ok((place, limit))
    }

    /// A piece, and the cursor of the next where there may be one.
    pub(crate) fn list<T>(
        &self,
        items: Vec<T>,
        limit: usize,
        place: impl Fn(&T) -> String,
    ) -> Result<Piece<T>, Problem> {
        let next = match items.last() {
            Some(last) if items.len() == limit => Some(self.cursor(&place(last))?),
            Some(_) | None => None,
        };
        Ok(Piece { items, next })
    }

    /// A place in this list that nobody else can make up: not of another list, not for another tenant.
    pub(crate) fn cursor(&self, place: &str) -> Result<String, Problem> {
        let mac = self.mac(place)?;
        Ok(format!("{}.{}", hex::encode(place), hex::encode(mac)))
    }

    fn place<T: FromStr>(&self, cursor: &str) -> Result<T, Problem> {
        let (place, mac) = cursor.split_once('.').ok_or(Problem::BadCursor)?;
        let place = hex::decode(place).map_err(|_| Problem::BadCursor)?;
        let place = String::from_utf8(place).map_err(|_| Problem::BadCursor)?;
        let mac = hex::decode(mac).map_err(|_| Problem::BadCursor)?;
        // Not in constant time: who guessed one would read a list of their own from another place.
        if mac != self.mac(&place)? {
            return Err(Problem::BadCursor);
        }
        place.parse().map_err(|_| Problem::BadCursor)
    }

    fn mac(&self, place: &str) -> Result<Vec<u8>, Problem> {
        let keyring = self.ctx.keyring().map_err(Problem::internal)?;
        let data = format!("{} {} {place}", self.tenant, self.path);
        let mut mac = keyring.mac("api cursor", data.as_bytes());
        mac.truncate(MAC_BYTES);
        Ok(mac)
    }

    /// A transaction of the tenant.
    pub(crate) async fn begin(&self) -> Result<TenantTx, Problem> {
        Ok(self.ctx.tenants().begin(self.tenant).await?)
    }
}

/// The body of a request, as JSON. An empty one is an empty object.
pub(crate) struct Given<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Ctx> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Ctx) -> Result<Self, Problem> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(is_json);
        let body = host::read_body(request.into_body(), BODY_BYTES_MAX).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge { .. } => Problem::TooLarge,
            BodyError::Broken => Problem::BadBody(error.to_string()),
        })?;
        if body.is_empty() {
            return read(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::NotJson);
        }
        read(&body).map(Self)
    }
}

fn is_json(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let wrong = error.into_inner();
        Problem::BadBody(match path.as_str() {
            // The whole, of which for example a field is missing.
            "." => wrong.to_string(),
            path => format!("{path}: {wrong}"),
        })
    })?;
    json.end()
        .map_err(|error| Problem::BadBody(error.to_string()))?;
    Ok(read)
}
