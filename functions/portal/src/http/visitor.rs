//! How a request wants its page: language, theme, and the cookies in which that is kept.

use chrono::{DateTime, Utc};
use http::header::{ACCEPT_LANGUAGE, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use model::TriggerId;

use super::Settings;
use crate::i18n::Language;
use crate::views::model::{Person, Reader, Theme};

const LANGUAGE_COOKIE: &str = "switchyard_language";
const THEME_COOKIE: &str = "switchyard_theme";
const TENANT_COOKIE: &str = "switchyard_tenant";

/// One year.
const PREFERENCE_SECS: u64 = 365 * 24 * 3600;

/// Whoever asks, signed in or not.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) language: Language,
    pub(super) theme: Theme,
    /// The tenant that the address or an earlier choice names.
    pub(super) tenant: Option<String>,
    pub(super) is_https: bool,
    pub(super) path: String,
    /// The present, where a handler asks; failures tell no time.
    pub(super) now: DateTime<Utc>,
    /// Where workloads are served, `{host}` standing for their label.
    pub(super) sites: Option<String>,
    /// Where senders outside reach triggers.
    hooks: String,
    /// Choices that the address made and that are to be kept.
    chosen: Vec<(&'static str, String)>,
}

impl Visitor {
    pub(super) fn of(parts: &Parts, settings: &Settings) -> Self {
        let query = |name: &str| query(parts.uri.query().unwrap_or_default(), name);
        let asked_language = query("lang").filter(|tag| Language::from_tag(tag).is_some());
        let asked_tenant = query("tenant");
        let accept = parts
            .headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|v| v.to_str().ok());
        let language = Language::choose(
            asked_language.as_deref(),
            cookie(&parts.headers, LANGUAGE_COOKIE),
            accept,
        );
        let mut chosen = Vec::new();
        if asked_language.is_some() {
            chosen.push((LANGUAGE_COOKIE, language.code().to_owned()));
        }
        // Only what can stand in a cookie; any other text names no tenant anyway.
        if let Some(tenant) = asked_tenant.as_ref().filter(|text| is_plain(text)) {
            chosen.push((TENANT_COOKIE, tenant.clone()));
        }
        let is_https = parts
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        Self {
            language,
            theme: cookie(&parts.headers, THEME_COOKIE).map_or(Theme::Auto, Theme::from_code),
            tenant: asked_tenant
                .or_else(|| cookie(&parts.headers, TENANT_COOKIE).map(str::to_owned)),
            is_https,
            path: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
            now: DateTime::UNIX_EPOCH,
            sites: sites(settings, host),
            hooks: hooks(settings, host, is_https),
            chosen,
        }
    }

    pub(super) fn reader(&self, person: Option<Person>, csrf: String) -> Reader {
        Reader {
            language: self.language,
            theme: self.theme,
            person,
            csrf,
            now: self.now,
            path: self.path.clone(),
        }
    }

    /// Where senders outside send to: any of them is recognised there.
    pub(super) fn hook_url(&self, trigger: TriggerId) -> String {
        format!("{}/{trigger}", self.hooks)
    }

    /// The cookies that keep what the address chose.
    pub(super) fn chosen(&self) -> impl Iterator<Item = HeaderValue> {
        self.chosen
            .iter()
            .filter_map(|(name, value)| self.preference(name, value))
    }

    pub(super) fn theme_cookie(&self, theme: Theme) -> Option<HeaderValue> {
        self.preference(THEME_COOKIE, theme.code())
    }

    fn preference(&self, name: &str, value: &str) -> Option<HeaderValue> {
        let secure = if self.is_https { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{name}={value}; Max-Age={PREFERENCE_SECS}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ))
        .ok()
    }
}

/// Where `webhook-any` is: where the operator says, else beside the portal.
fn hooks(settings: &Settings, host: Option<&str>, is_https: bool) -> String {
    if let Some(url) = &settings.hooks_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = if is_https { "https" } else { "http" };
    format!("{scheme}://{}/webhook-any", host.unwrap_or("localhost"))
}

/// Where workloads are served: under the operator's domain, else beside a portal that is visited on this machine.
fn sites(settings: &Settings, host: Option<&str>) -> Option<String> {
    if let Some(domain) = &settings.site_domain {
        return Some(format!("https://{{host}}.{domain}/"));
    }
    let (name, port) = match host?.rsplit_once(':') {
        Some((name, port)) => (name, format!(":{}", port.parse::<u16>().ok()?)),
        None => (host?, String::new()),
    };
    let is_here = name == "127.0.0.1" || name == "localhost" || name.ends_with(".localhost");
    is_here.then(|| format!("http://{{host}}.localhost{port}/"))
}

/// The value of a cookie; of several with one name the first.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (found, value) = pair.split_once('=')?;
            (found.trim() == name).then(|| value.trim())
        })
}

/// A parameter of a query, decoded; empty counts as not given.
pub(super) fn query(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::{Settings, cookie, query, sites};

    #[test]
    fn a_workload_has_an_address_on_this_machine_or_under_the_operators_domain() {
        let none = Settings {
            site_domain: None,
            hooks_url: None,
        };
        let local = |host| sites(&none, Some(host));
        assert_eq!(
            local("localhost:8080").as_deref(),
            Some("http://{host}.localhost:8080/")
        );
        assert_eq!(
            local("portal.localhost").as_deref(),
            Some("http://{host}.localhost/")
        );
        assert_eq!(local("switchyard.example.org"), None);
        assert_eq!(local("localhost:evil/"), None);
        let domain = Settings {
            site_domain: Some("sites.example.org".into()),
            hooks_url: None,
        };
        assert_eq!(
            sites(&domain, Some("localhost")).as_deref(),
            Some("https://{host}.sites.example.org/")
        );
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = http::HeaderMap::new();
        headers.insert(
            "cookie",
            "xname=1; name=2; name=3".parse().expect("a value"),
        );
        assert_eq!(cookie(&headers, "name"), Some("2"));
        assert_eq!(cookie(&headers, "ame"), None);
    }

    #[test]
    fn an_empty_parameter_is_none() {
        assert_eq!(query("a=&b=x%20y", "a"), None);
        assert_eq!(query("a=&b=x%20y", "b").as_deref(), Some("x y"));
    }
}
