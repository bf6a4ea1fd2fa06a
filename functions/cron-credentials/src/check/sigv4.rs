//! AWS's signature of a request, version 4.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use store::watch::Login;

use super::Verdict;

/// What is signed. Path and query are in their canonical form already: they are made of words that need no escaping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signing<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) body: &'a str,
    /// Whether the body's digest goes into a header as well, which S3 asks for.
    pub(crate) with_body_digest: bool,
    pub(crate) now: DateTime<Utc>,
}

/// The headers that a signed request has.
pub(crate) fn sign(login: &Login, signing: &Signing<'_>) -> Result<HeaderMap, Verdict> {
    let time = signing.now.format("%Y%m%dT%H%M%SZ").to_string();
    let date = &time[..8];
    let body = hex::encode(Sha256::digest(signing.body));
    let mut signed: Vec<(&'static str, &str)> = vec![("host", &login.host)];
    if signing.with_body_digest {
        signed.push(("x-amz-content-sha256", &body));
    }
    signed.push(("x-amz-date", &time));
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{body}",
        signing.method, signing.path, signing.query
    );
    let scope = format!("{date}/{}/{}/aws4_request", signing.region, signing.service);
    let digest = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let secret = format!("AWS4{}", login.secret.expose_secret());
    let key = [date, signing.region, signing.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, word| mac(&key, word.as_bytes()));
    let signature = hex::encode(mac(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        login.username
    );
    let mut headers = HeaderMap::new();
    for (name, value) in &signed {
        // It goes with every request by itself.
        if *name != "host" {
            headers.insert(HeaderName::from_static(name), text(value)?);
        }
    }
    let mut authorization = text(&authorization)?;
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    Ok(headers)
}

fn text(value: &str) -> Result<HeaderValue, Verdict> {
    HeaderValue::from_str(value).map_err(|_| Verdict::Bad("the access key's id is none".to_owned()))
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_the_vendors_own_example_is() {
        let login = Login {
            host: "example.amazonaws.com".to_owned(),
            username: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        };
        let headers = sign(
            &login,
            &Signing {
                method: "GET",
                path: "/",
                query: "",
                service: "service",
                region: "us-east-1",
                body: "",
                with_body_digest: false,
                now: "2015-08-30T12:36:00Z".parse().expect("a time"),
            },
        )
        .expect("it can be signed");
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            headers["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }
}
