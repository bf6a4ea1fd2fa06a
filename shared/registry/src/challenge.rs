//! What a registry asks for before it answers: `WWW-Authenticate`.
//! <https://distribution.github.io/distribution/spec/auth/token/>

use url::Url;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user and a password, here.
    Basic,
    /// A token that is handed out there.
    Bearer {
        /// Where, with the service and scope that were asked for.
        token_url: Url,
    },
}

/// Reads a challenge. Nothing when it is of another kind, or leads nowhere.
pub(crate) fn read(value: &str, scope: &str) -> Option<Challenge> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let value = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let mut token_url = Url::parse(value("realm")?).ok()?;
    token_url.set_fragment(None);
    {
        let mut query = token_url.query_pairs_mut();
        if let Some(service) = value("service") {
            query.append_pair("service", service);
        }
        query.append_pair("scope", value("scope").unwrap_or(scope));
    }
    Some(Challenge::Bearer { token_url })
}

/// `name="value",…`, as RFC 9110 has it; what is in quotes may hold commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let after = after.trim_start();
        let value = if let Some(quoted) = after.strip_prefix('"') {
            let mut value = String::new();
            let mut end = quoted.len();
            let mut escaped = false;
            for (at, character) in quoted.char_indices() {
                if escaped {
                    value.push(character);
                    escaped = false;
                } else if character == '\\' {
                    escaped = true;
                } else if character == '"' {
                    end = at + 1;
                    break;
                } else {
                    value.push(character);
                }
            }
            rest = &quoted[end..];
            value
        } else {
            let (value, after) = after.split_once(',').unwrap_or((after, ""));
            rest = after;
            value.trim().to_owned()
        };
        found.push((name, value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_the_registry_says() {
        let challenge = read(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#,
            "repository:library/nginx:pull",
        );
        let Some(Challenge::Bearer { token_url }) = challenge else {
            panic!("{challenge:?}");
        };
        assert_eq!(
            token_url.as_str(),
            "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fnginx%3Apull%2Cpush"
        );
        let own = read(
            r#"bearer realm="https://r.test/token?x=1""#,
            "repository:a:pull",
        );
        let Some(Challenge::Bearer { token_url }) = own else {
            panic!("{own:?}");
        };
        assert_eq!(token_url.query(), Some("x=1&scope=repository%3Aa%3Apull"));
    }

    #[test]
    fn other_challenges_are_told_apart() {
        assert_eq!(read(r#"Basic realm="r""#, "s"), Some(Challenge::Basic));
        assert_eq!(read("Negotiate", "s"), None);
        assert_eq!(read("Bearer", "s"), None);
        assert_eq!(read(r#"Bearer realm="nowhere""#, "s"), None);
        assert!(read(r#"Bearer realm="https://r.test/"#, "s").is_some());
    }
}
