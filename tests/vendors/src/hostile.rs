//! What anybody could send, as one run of bytes: lines of headers, an empty line, a body. Fuzzers call these functions with
//! what they invent, and a test with what they once found.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use sha2::Sha256;
use webhook::conformance::RECEIVED_AT;
use webhook::{Delivery, PathHash, PathSecrets, Raw, Secrets, SigningKey, Vendor};
use webhook_azure::Azure;
use webhook_bitbucket::Bitbucket;
use webhook_cloudevents::CloudEvents;
use webhook_generic::Generic;
use webhook_gitea::Gitea;
use webhook_github::Github;
use webhook_gitlab::Gitlab;
use webhook_registry::Registry;

use crate::{Judge, Proof, ROWS, SECRET, Verdict};

/// The functions that tell their senders by the body, or take anybody's.
const UNNAMED: [Judge; 3] = [
    Judge::of::<Registry>("webhook-registry"),
    Judge::of::<CloudEvents>("webhook-cloudevents"),
    Judge::of::<Generic>("webhook-generic"),
];

/// Every scheme, as triggers name it.
const SCHEMES: [&str; 11] = [
    r#"{"kind": "hmac", "header": "x-signature"}"#,
    r#"{"kind": "hmac", "header": "x-signature", "prefix": "sha512=", "algorithm": "sha512", "encoding": "base64"}"#,
    r#"{"kind": "hmac", "header": "x-nexus-webhook-signature", "prefix": "", "algorithm": "sha1", "encoding": "hex"}"#,
    r#"{"kind": "standard"}"#,
    r#"{"kind": "standard", "public_keys": ["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]}"#,
    r#"{"kind": "token", "header": "x-token"}"#,
    r#"{"kind": "token", "header": "authorization", "prefix": "Bearer "}"#,
    r#"{"kind": "basic", "user": "ci"}"#,
    r#"{"kind": "path"}"#,
    r#"{"kind": "oidc", "issuer": "google", "audience": "https://hooks.example.test/a", "email": "push@example.test"}"#,
    r#"{"kind": "none", "networks": ["192.0.2.0/24"]}"#,
];

/// The public half of a key that nobody has. RFC 7517, appendix A.1.
const KEYS: &str = r#"{"keys": [{"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjqR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}]}"#;

/// The headers and the body. A line that is no header is left out.
fn parts(data: &[u8]) -> (HeaderMap, &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, body)
}

/// Proves these headers and this body, and lets everybody read them who speaks for such headers.
///
/// # Panics
/// When what is proved is refused, or two functions speak for the same headers.
pub fn read_payload(data: &[u8]) {
    let (headers, body) = parts(data);
    let mut claimed: Option<&str> = None;
    for row in ROWS.iter().filter(|row| (row.judge.claims)(&headers)) {
        let other = claimed.replace(row.judge.function);
        assert!(other.is_none_or(|other| other == row.judge.function));
        read(&row.judge, row.proof, row.scheme, headers.clone(), body);
    }
    let token = Some(r#"{"kind": "token", "header": "x-hook-token"}"#);
    for judge in &UNNAMED {
        let proof = Proof::Token("x-hook-token");
        read(judge, proof, token, headers.clone(), body);
    }
}

fn read(judge: &Judge, proof: Proof, scheme: Option<&str>, mut headers: HeaderMap, body: &[u8]) {
    for (name, value) in proof.headers(SECRET, body) {
        let name: HeaderName = name.parse().expect("a header's name");
        headers.insert(name, value.parse().expect("a header's value"));
    }
    let scheme = scheme.map(|scheme| serde_json::from_str(scheme).expect("a scheme"));
    let verdict = judge.verdict(&headers, body, SECRET, scheme);
    // Headers of somebody else are refused before the proof is looked at.
    if (judge.claims)(&headers) {
        assert_ne!(verdict, Verdict::Refused, "{}", judge.function);
    }
}

/// Shows these headers and this body, as they are, to every check of a proof. The first line of the body stands in the path too.
///
/// # Panics
/// When one of them holds: the secret is made of all the bytes, so nobody can have known it.
pub fn check_proof(data: &[u8]) {
    let (headers, body) = parts(data);
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("a key of any length");
    mac.update(data);
    let secret = SecretString::from(hex::encode(mac.finalize().into_bytes()));
    let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let path = SecretString::from(String::from_utf8_lossy(first).into_owned());
    let keys: Vec<_> = SigningKey::of_set(KEYS.as_bytes()).expect("it is a key set");
    let proofs = |scheme| {
        Secrets::new(secret.clone(), None)
            .with_scheme(scheme)
            .with_path(PathSecrets {
                current: Some(PathHash::of(&secret)),
                previous: None,
            })
            .with_keys(keys.clone().into())
    };
    let delivery = || {
        Delivery::new(headers.clone(), Bytes::copy_from_slice(body), RECEIVED_AT)
            .at_path(Some(path.clone()))
    };
    for scheme in SCHEMES {
        let secrets = proofs(Some(serde_json::from_str(scheme).expect("a scheme")));
        let refused = [
            delivery().verify::<Generic>(&secrets).is_err(),
            delivery().verify::<Registry>(&secrets).is_err(),
            delivery().verify::<CloudEvents>(&secrets).is_err(),
        ];
        assert_eq!(refused, [true; 3], "{scheme}");
    }
    let secrets = proofs(None);
    refuses::<Azure>(delivery(), &secrets);
    refuses::<Bitbucket>(delivery(), &secrets);
    refuses::<Gitea>(delivery(), &secrets);
    refuses::<Github>(delivery(), &secrets);
    refuses::<Gitlab>(delivery(), &secrets);
}

fn refuses<V: Vendor>(delivery: Delivery<Raw>, secrets: &Secrets) {
    assert!(delivery.verify::<V>(secrets).is_err(), "{}", V::NAME);
}

/// Reads these headers and this body as CloudEvents, and what was read once more after it was written.
///
/// # Panics
/// When what was written reads differently.
pub fn read_cloudevents(data: &[u8]) {
    let (headers, body) = parts(data);
    let limits = events::Limits::default();
    let read = events::decode(&headers, Bytes::copy_from_slice(body), &limits);
    let all = match read {
        Ok(events::Decoded::One(one)) => vec![*one],
        Ok(events::Decoded::Batch(all)) => all,
        Err(_) => return,
    };
    for message in all {
        for (headers, body) in [
            events::encode_binary(&message),
            events::encode_structured(&message),
        ] {
            // Data that only base64 can carry grows, also beyond the limit.
            let wide = events::Limits {
                event_bytes_max: limits.event_bytes_max * 4,
                ..events::Limits::default()
            };
            let again = events::decode(&headers, body, &wide).expect("it was written by us");
            let events::Decoded::One(again) = again else {
                panic!("one event became a batch");
            };
            assert_eq!(again.id(), message.id());
            assert_eq!(again.ty(), message.ty());
            assert_eq!(again.source(), message.source());
            assert_eq!(again.subject(), message.subject());
            assert_eq!(
                again.data().map(events::Payload::bytes).is_some(),
                message.data().map(events::Payload::bytes).is_some()
            );
        }
    }
}

/// Reads the bytes as the name of an image, as globs and as URLs of registries.
pub fn read_image(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = webhook::image::Reference::familiar(text);
    let _ = webhook::image::Reference::of_registry(text);
    let _ = webhook::image::host_of_url(text);
    let (pattern, name) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(pattern) = model::Glob::try_from(pattern.to_owned()) {
        let _ = pattern.matches(name);
    }
}
