//! Who is signed in, and which requests may change something.

use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use database::TenantTx;
use host::Ctx;
use http::header::{HOST, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use maud::Markup;
use model::{Role, TenantId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::people::{self, SESSION_VALID, Token};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::SIGN_IN_COMMAND;
use super::problem::Problem;
use super::visitor::{Visitor, cookie};
use crate::views::model::{Person, Reader, Theme};
use crate::views::session::{SignIn, sign_in as sign_in_view};

const COOKIE: &str = "switchyard_session";
/// Over https: a name that a browser takes only with Secure, for this host and the whole of it.
const SECURE_COOKIE: &str = "__Host-switchyard_session";

/// Somebody who is signed in, in one of their tenants.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) visitor: Visitor,
    pub(super) tenant: TenantId,
    pub(super) role: Role,
    /// Kept to ask again whether it is still good, in long requests.
    token: Token,
    person: Person,
    csrf: String,
}

impl Signed {
    pub(super) fn reader(&self) -> Reader {
        self.visitor
            .reader(Some(self.person.clone()), self.csrf.clone())
    }

    pub(super) fn may_operate(&self) -> bool {
        self.person.may_operate
    }

    /// Who they are, as it is recorded.
    pub(super) fn name(&self) -> &str {
        &self.person.name
    }

    pub(super) async fn begin(&self, ctx: &Ctx) -> Result<TenantTx, Problem> {
        Ok(ctx.tenants().begin(self.tenant).await?)
    }

    /// Whether they still have a session, and are still a member of the tenant.
    pub(super) async fn may_still_read(&self, ctx: &Ctx) -> Result<bool, Problem> {
        let session = people::session(ctx.tenants(), &self.token).await?;
        Ok(session.is_some_and(|session| session.is_member_of(self.tenant)))
    }

    /// For what only operators and admins may do.
    pub(super) fn operate(&self) -> Result<(), Problem> {
        match self.role {
            Role::Operator | Role::Admin => Ok(()),
            Role::Viewer => Err(Problem::Forbidden),
        }
    }

    pub(super) fn may_administer(&self) -> bool {
        self.role == Role::Admin
    }

    /// The payload that a schedule or a binding gives to jobs of a task, as its reader may see it: who writes it sees it whole.
    pub(super) fn payload(&self, task: &str, payload: Value) -> Value {
        if self.may_administer() {
            payload
        } else {
            runs::masked(task, payload, &[])
        }
    }

    /// For what only admins may do.
    pub(super) fn administer(&self) -> Result<(), Problem> {
        match self.role {
            Role::Admin => Ok(()),
            Role::Viewer | Role::Operator => Err(Problem::Forbidden),
        }
    }
}

impl FromRequestParts<Ctx> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ctx: &Ctx) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, ctx).await?;
        let token = presented(&parts.headers, &visitor).ok_or(Problem::SignedOut)?;
        let session = people::session(ctx.tenants(), &token)
            .await?
            .ok_or(Problem::SignedOut)?;
        // Without a choice the first by name; a tenant that is not theirs does not exist.
        let membership = match &visitor.tenant {
            None => session.memberships.first(),
            Some(chosen) => session.memberships.iter().find(|membership| {
                membership.tenant_name == *chosen || membership.tenant.to_string() == *chosen
            }),
        }
        .ok_or(Problem::NotFound)?;
        let csrf = csrf(ctx, &token)?;
        Ok(Self {
            tenant: membership.tenant,
            role: membership.role,
            person: Person {
                name: session.name,
                tenant: membership.tenant_name.clone(),
                may_operate: membership.role >= Role::Operator,
            },
            csrf,
            token,
            visitor,
        })
    }
}

fn presented(headers: &HeaderMap, visitor: &Visitor) -> Option<Token> {
    let name = if visitor.is_https {
        SECURE_COOKIE
    } else {
        COOKIE
    };
    cookie(headers, name).map(Token::presented)
}

fn csrf(ctx: &Ctx, session: &Token) -> Result<String, Problem> {
    let keyring = ctx.keyring().map_err(Problem::internal)?;
    Ok(hex::encode(keyring.mac("csrf", &session.hash())))
}

/// A form that a page of ours sent.
pub(super) struct Posted<T>(pub(super) T);

#[derive(Deserialize)]
struct Guarded<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    form: T,
}

impl<T: DeserializeOwned> FromRequest<Ctx> for Posted<T> {
    type Rejection = Problem;

    /// First where it comes from, then whether it carries the session's token, if there is a session.
    async fn from_request(request: Request, ctx: &Ctx) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, ctx).await?;
        if !is_from_here(&parts.headers, &visitor) {
            return Err(Problem::Forbidden);
        }
        let expected = presented(&parts.headers, &visitor)
            .map(|token| csrf(ctx, &token))
            .transpose()?;
        let Form(guarded) = Form::<Guarded<T>>::from_request(Request::from_parts(parts, body), ctx)
            .await
            .map_err(|_| Problem::Unreadable)?;
        if let Some(expected) = expected
            && !bool::from(expected.as_bytes().ct_eq(guarded.csrf.as_bytes()))
        {
            return Err(Problem::Forbidden);
        }
        Ok(Self(guarded.form))
    }
}

/// Whether a browser says that a page of this very origin sent it. One that says nothing is not a browser with our page.
fn is_from_here(headers: &HeaderMap, visitor: &Visitor) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (text(headers, ORIGIN), text(headers, HOST)) else {
        return false;
    };
    let scheme = if visitor.is_https { "https" } else { "http" };
    match (
        Url::parse(origin),
        Url::parse(&format!("{scheme}://{host}")),
    ) {
        (Ok(origin), Ok(here)) => origin.origin().is_tuple() && origin.origin() == here.origin(),
        _ => false,
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
    left: Option<String>,
}

/// Opening a link does not use it up: previews of links open them too.
pub(super) async fn sign_in_page(visitor: Visitor, Query(link): Query<Link>) -> Markup {
    let reader = visitor.reader(None, String::new());
    let view = if !link.token.is_empty() {
        SignIn::Confirm { token: &link.token }
    } else if link.left.is_some() {
        SignIn::SignedOut {
            command: SIGN_IN_COMMAND,
        }
    } else {
        SignIn::Needed {
            command: SIGN_IN_COMMAND,
        }
    };
    sign_in_view(&reader, &view)
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    token: String,
}

/// No session's token: there is no session, and somebody who is signed in already may use a link as well.
pub(super) async fn sign_in(
    State(ctx): State<Ctx>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Result<Form<SignInForm>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Problem> {
    if !is_from_here(&headers, &visitor) {
        return Err(Problem::Forbidden);
    }
    let Form(form) = form.map_err(|_| Problem::Unreadable)?;
    let Some(session) = people::open_session(ctx.tenants(), &Token::presented(&form.token)).await?
    else {
        let reader = visitor.reader(None, String::new());
        let view = SignIn::Expired {
            command: SIGN_IN_COMMAND,
        };
        return Ok((http::StatusCode::FORBIDDEN, sign_in_view(&reader, &view)).into_response());
    };
    let cookie = session_cookie(&visitor, session.expose(), SESSION_VALID.as_secs())?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn sign_out(
    State(ctx): State<Ctx>,
    signed: Signed,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    people::close_session(ctx.tenants(), &signed.token).await?;
    let cookie = session_cookie(&signed.visitor, "", 0)?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to("/sign-in?left=1")).into_response())
}

fn session_cookie(visitor: &Visitor, value: &str, secs: u64) -> Result<HeaderValue, Problem> {
    let (name, secure) = if visitor.is_https {
        (SECURE_COOKIE, "; Secure")
    } else {
        (COOKIE, "")
    };
    format!("{name}={value}; Max-Age={secs}; Path=/; HttpOnly; SameSite=Lax{secure}")
        .try_into()
        .map_err(|error: http::header::InvalidHeaderValue| Problem::internal(error))
}

#[derive(Deserialize)]
pub(super) struct Preferences {
    #[serde(default)]
    theme: String,
    #[serde(default)]
    return_to: String,
}

pub(super) async fn preferences(visitor: Visitor, Posted(form): Posted<Preferences>) -> Response {
    let mut response = Redirect::to(own_path(&form.return_to)).into_response();
    if let Some(cookie) = visitor.theme_cookie(Theme::from_code(&form.theme)) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// A path of ours; anything that a browser might take for another host is the first page.
fn own_path(path: &str) -> &str {
    let bytes = path.as_bytes();
    let is_own = bytes.first() == Some(&b'/')
        && !matches!(bytes.get(1), Some(b'/' | b'\\'))
        && bytes
            .iter()
            .all(|b| (0x21..=0x7e).contains(b) && *b != b'\\');
    if is_own { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn a_redirect_stays_here() {
        assert_eq!(own_path("/jobs/1?lang=ru"), "/jobs/1?lang=ru");
        for foreign in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/a\tb",
            "/a\r\nx: y",
        ] {
            assert_eq!(own_path(foreign), "/", "{foreign:?}");
        }
    }
}
