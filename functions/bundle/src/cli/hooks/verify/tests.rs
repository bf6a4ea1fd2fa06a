use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::FromArgMatches as _;

use super::*;

const SECRET: &str = "It's a secret to everybody";
/// GitHub prints JSON on one line, in an order of its own.
const BODY: &str =
    "{\"ref\":\"refs/heads/main\",\"after\":\"0a\",\"pusher\":{\"name\":\"Ann\",\"email\":null}}";
const TRIGGER: &str = "trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f";

fn tag(algorithm: hmac::Algorithm, secret: &str, body: &str) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    hmac::sign(&key, body.as_bytes()).as_ref().to_vec()
}

fn sha256(secret: &str, body: &str) -> String {
    hex::encode(tag(hmac::HMAC_SHA256, secret, body))
}

fn request(headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("POST /webhook-github/{TRIGGER} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// A push of GitHub with this signature and this body.
fn github(signature: &str, body: &str) -> Vec<u8> {
    request(
        &[
            ("X-GitHub-Event", "push"),
            ("Content-Type", "application/json"),
            ("X-Hub-Signature-256", signature),
        ],
        body,
    )
}

fn question(name: &str, scheme: Option<&str>, secret: &str) -> Question {
    Question {
        check: by_name(name).unwrap(),
        scheme: scheme.map(|json| serde_json::from_str(json).unwrap()),
        current: secret.into(),
        previous: None,
        path: PathSecrets {
            current: Some(PathHash::of(&secret.into())),
            previous: None,
        },
        at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    }
}

/// What is found out about a request; nothing where it holds.
fn found(bytes: &[u8], asked: &Question) -> Vec<String> {
    let recorded = Recorded::parse(bytes).unwrap();
    let report = judged(&recorded, asked);
    assert_eq!(report.holds, report.reason.is_none(), "{report:?}");
    for finding in &report.findings {
        assert!(!finding.contains(SECRET), "{finding}");
    }
    report.findings
}

fn on_github(signature: &str, body: &str) -> String {
    found(&github(signature, body), &question("github", None, SECRET)).join(" | ")
}

#[test]
fn a_right_request_holds_by_its_own_headers() {
    let signed = format!("sha256={}", sha256(SECRET, BODY));
    let bytes = github(&signed, BODY);
    let recorded = Recorded::parse(&bytes).unwrap();
    assert_eq!(by_headers(&recorded.headers).name, "github");
    let report = judged(&recorded, &question("github", None, SECRET));
    assert!(report.holds && report.findings.is_empty(), "{report:?}");
    assert_eq!(report.secret, Some("current"));
    let mut rotating = question("github", None, "new");
    rotating.previous = Some(SECRET.into());
    assert_eq!(judged(&recorded, &rotating).secret, Some("previous"));
}

#[test]
fn a_body_that_something_wrote_anew_is_recognised() {
    let signed = format!("sha256={}", sha256(SECRET, BODY));
    let pretty = BODY
        .replace("{\"ref", "{\n  \"ref")
        .replace(",\"", ",\n  \"")
        .replace("\":", "\": ");
    let pretty = pretty
        .replace("{\"name", "{\n    \"name")
        .replace("  \"email", "    \"email");
    let pretty = pretty.replace("}}", "\n  }\n}");
    for (body, said) in [
        (format!("{BODY}\n"), "a line break was added at its end"),
        (format!("{BODY}\r\n"), "a line break was added at its end"),
        (format!("\u{feff}{BODY}"), "a byte order mark"),
        (format!("  {BODY} "), "white space was added around it"),
        (
            BODY.replace(':', ": ").replace(',', ", "),
            "with other white space",
        ),
        (
            format!(
                "payload={}",
                url::form_urlencoded::byte_serialize(BODY.as_bytes()).collect::<String>()
            ),
            "into a form",
        ),
    ] {
        let told = on_github(&signed, &body);
        assert!(
            told.starts_with("the body is not the one that was signed: ") && told.contains(said),
            "{body}: {told}"
        );
    }
    for (was, is, said) in [
        ("{\"a\":\n1}\n", "{\"a\":\r\n1}\r\n", "from LF to CRLF"),
        ("{\"a\":\r\n1}", "{\"a\":\n1}", "from CRLF to LF"),
        (BODY, &pretty, "with other white space"),
        (
            "{\"b\":1,\"a\":2}\n",
            "{\"b\":1,\"a\":2}",
            "the line break at its end was cut off",
        ),
        (
            "{\"a\":1,\"b\":2}",
            "{\"b\": 2, \"a\": 1}",
            "in another order",
        ),
        ("{\"a\":\"\\u00fc\"}", "{\"a\":\"ü\"}", "with other escapes"),
        ("{\"a\":\"x\\/y\"}", "{\"a\":\"x/y\"}", "with other escapes"),
        ("payload=%7B%7D", "{}", "taken out of a form"),
    ] {
        let told = on_github(&format!("sha256={}", sha256(SECRET, was)), is);
        assert!(told.contains(said), "{was} as {is}: {told}");
    }
}

#[test]
fn a_secret_that_is_not_quite_the_same_is_recognised() {
    for (theirs, said) in [
        (format!("{SECRET}\n"), "ends in a line break"),
        (format!("{SECRET}\r\n"), "on Windows"),
        (format!(" {SECRET}"), "begins with a space"),
        (format!("\"{SECRET}\""), "in quotation marks"),
    ] {
        let told = on_github(&format!("sha256={}", sha256(&theirs, BODY)), BODY);
        assert!(told.contains(said), "{told}");
    }
    let theirs = format!("sha256={}", sha256(SECRET, BODY));
    let asked = question("github", None, &format!("{SECRET} "));
    assert!(found(&github(&theirs, BODY), &asked)[0].contains("the secret here has white space"));
    // Both at once.
    let told = on_github(
        &format!("sha256={}", sha256(&format!("{SECRET}\n"), BODY)),
        &format!("{BODY}\n"),
    );
    assert!(
        told.contains("a line break was added") && told.contains("ends in a line break"),
        "{told}"
    );
}

#[test]
fn another_form_or_place_of_the_signature_is_recognised() {
    let digits = sha256(SECRET, BODY);
    let base64 = STANDARD.encode(tag(hmac::HMAC_SHA256, SECRET, BODY));
    for (signature, said) in [
        (format!("sha256={}", digits.to_uppercase()), "upper case"),
        (format!("sha256={base64}"), "in base64"),
        (digits.clone(), "\"sha256=\" is expected before it"),
        (format!("SHA256={digits}"), "\"SHA256=\" is there"),
    ] {
        let told = on_github(&signature, BODY);
        assert!(told.contains(said), "{signature}: {told}");
    }
    let only = |name: &str, value: &str| {
        let bytes = request(&[("X-GitHub-Event", "push"), (name, value)], BODY);
        found(&bytes, &question("github", None, SECRET)).join(" | ")
    };
    let sha1 = hex::encode(tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET, BODY));
    let told = only("X-Hub-Signature", &format!("sha1={sha1}"));
    assert!(told.contains("the only signature there is SHA-1"), "{told}");
    assert!(told.contains("holds a right signature by SHA-1"), "{told}");
    let told = only("X-Gitea-Signature", &digits);
    assert!(
        told.contains("x-hub-signature-256 is missing")
            && told.contains("a right signature is in x-gitea-signature"),
        "{told}"
    );
    let told = only("X-Other", "1");
    assert!(told.contains("no header holds a signature"), "{told}");
    let signed = format!("sha256={digits}");
    let twice = request(
        &[
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", &signed),
            ("X-Hub-Signature-256", &signed),
        ],
        BODY,
    );
    let told = found(&twice, &question("github", None, SECRET)).join(" | ");
    assert!(told.contains("is there 2 times"), "{told}");
}

#[test]
fn what_nothing_explains_is_called_another_secret() {
    let told = on_github(&format!("sha256={}", sha256("another", BODY)), BODY);
    assert!(
        told.contains("most likely signs with another secret"),
        "{told}"
    );
    let mut bytes = github(&format!("sha256={}", sha256(SECRET, BODY)), &BODY[1..]);
    bytes.splice(0..0, b"".iter().copied());
    let told = found(&bytes, &question("github", None, SECRET)).join(" | ");
    assert!(told.contains("another secret"), "{told}");
}

#[test]
fn a_recording_that_is_not_what_was_sent_says_so() {
    let signed = format!("sha256={}", sha256(SECRET, BODY));
    let bytes = request(
        &[
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", &signed),
            ("Content-Length", &BODY.len().to_string()),
            ("Content-Encoding", "gzip"),
        ],
        &format!("{BODY}\n"),
    );
    let told = found(&bytes, &question("github", None, SECRET)).join(" | ");
    assert!(
        told.contains(&format!(
            "says {} bytes, and the recording has {}",
            BODY.len(),
            BODY.len() + 1
        )),
        "{told}"
    );
    assert!(told.contains("a compressed body is refused"), "{told}");
}

#[test]
fn a_time_that_ran_out_is_told_from_a_bad_signature() {
    let at = 1_700_000_000_i64;
    let standard = |secret: &str, stamp: i64| {
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            &STANDARD.decode("c2VjcmV0IG9mIGEgaG9vaw==").unwrap(),
        );
        let _ = secret;
        let signature = hmac::sign(&key, format!("msg_1.{stamp}.{BODY}").as_bytes());
        request(
            &[
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", &stamp.to_string()),
                (
                    "webhook-signature",
                    &format!("v1,{}", STANDARD.encode(signature)),
                ),
            ],
            BODY,
        )
    };
    let asked = question(
        "generic",
        Some(r#"{"kind": "standard"}"#),
        "whsec_c2VjcmV0IG9mIGEgaG9vaw==",
    );
    assert_eq!(found(&standard("", at), &asked), Vec::<String>::new());
    let told = found(&standard("", at - 3600), &asked).join(" | ");
    assert!(
        told.contains("the signature itself holds, and its time is 3600 s ago"),
        "{told}"
    );
    let told = found(&standard("", at + 900), &asked).join(" | ");
    assert!(told.contains("900 s in the future"), "{told}");
    let text = question(
        "generic",
        Some(r#"{"kind": "standard"}"#),
        "c2VjcmV0IG9mIGEgaG9vaw",
    );
    let told = found(&standard("", at), &text).join(" | ");
    assert!(told.contains("another secret"), "{told}");
}

#[test]
fn tokens_passwords_and_paths_are_explained_too() {
    let asked = |scheme: &str| question("generic", Some(scheme), SECRET);
    let token = |value: &str| {
        let bytes = request(&[("X-Token", value)], BODY);
        found(
            &bytes,
            &asked(r#"{"kind": "token", "header": "x-token", "prefix": "Bearer "}"#),
        )
        .join(" | ")
    };
    assert_eq!(token(&format!("Bearer {SECRET}")), "");
    assert!(token(SECRET).contains("\"Bearer \" is expected before it"));
    assert!(token("Bearer other").contains("another secret"));
    assert!(token(&format!("Bearer {}", SECRET.to_uppercase())).contains("upper and lower case"));
    let elsewhere = request(
        &[("X-Gitlab-Event", "Push Hook"), ("X-Other", SECRET)],
        BODY,
    );
    let told = found(&elsewhere, &question("gitlab", None, SECRET)).join(" | ");
    assert!(
        told.contains("x-gitlab-token is missing, and the secret is in x-other"),
        "{told}"
    );

    let basic = |pair: &str| {
        let value = format!("Basic {}", STANDARD.encode(pair));
        let bytes = request(&[("Authorization", &value)], BODY);
        found(&bytes, &asked(r#"{"kind": "basic", "user": "ci"}"#)).join(" | ")
    };
    assert_eq!(basic(&format!("ci:{SECRET}")), "");
    assert!(basic(&format!("me:{SECRET}")).contains("the user is another"));
    assert!(basic("ci:x").contains("the password is another"));

    let path = |path: &str| {
        let bytes = format!("POST {path} HTTP/1.1\n\n{BODY}").into_bytes();
        found(
            &bytes,
            &question("generic", Some(r#"{"kind": "path"}"#), "a-secret-of-a-path"),
        )
        .join(" | ")
    };
    assert_eq!(
        path(&format!("/webhook-generic/{TRIGGER}/a-secret-of-a-path")),
        ""
    );
    assert!(path(&format!("/webhook-generic/{TRIGGER}")).contains("ends before its secret"));
    assert!(path(&format!("/webhook-generic/{TRIGGER}/other")).contains("a new URL was made"));
}

#[test]
fn what_is_no_recording_is_refused_with_the_line() {
    for (bytes, said) in [
        (&b"no headers"[..], "no empty line"),
        (b"POST / HTTP/1.1\nnot a header\n\n", "line 2 is no header"),
        (b"a b: c\n\n", "line 1 names no header"),
        (b"\xff: c\n\n", "line 1 is not text"),
    ] {
        let told = format!("{:#}", Recorded::parse(bytes).unwrap_err());
        assert!(told.contains(said), "{told}");
    }
    let curl = b"> POST /x HTTP/1.1\r\n> Host: a\r\n> \r\n{}";
    let recorded = Recorded::parse(curl).unwrap();
    assert_eq!(
        (recorded.headers.len(), &recorded.body[..]),
        (1, &b"{}"[..])
    );
}

#[tokio::test]
async fn the_command_reads_files_and_triggers_and_its_end_says_what_it_found() {
    let served = webhook_testkit::Served::new(&webhook_github::FUNCTION).await;
    let trigger = served.git_trigger().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let own = webhook::conformance::SECRET;
    let good = github(&format!("sha256={}", sha256(own, BODY)), BODY);
    let of_trigger = String::from_utf8(good.clone())
        .unwrap()
        .replace(TRIGGER, &trigger.to_string());
    let good = file("good", &good);
    let bad = file("bad", &github("sha256=00", BODY));
    let of_trigger = file("stored", of_trigger.as_bytes());
    let secret = file("secret", format!("{own}\n").as_bytes());
    let run = async |line: &str| -> Result<(), String> {
        let command = VerifyArgs::augment_args(clap::Command::new("verify"));
        let words = std::iter::once("verify").chain(line.split_whitespace());
        let args = command
            .try_get_matches_from(words)
            .and_then(|it| VerifyArgs::from_arg_matches(&it));
        let args = args.map_err(|error| error.to_string())?;
        verify(&served.env, args)
            .await
            .map_err(|error| format!("{error:#}"))
    };
    assert_eq!(run(&format!("{good} --secret-file {secret}")).await, Ok(()));
    assert_eq!(
        run(&format!("{of_trigger} --trigger {trigger} --json")).await,
        Ok(())
    );
    assert_eq!(
        run(&format!("{bad} --secret-file {secret}")).await,
        Err("failed".to_owned())
    );
    for (line, said) in [
        (
            format!("{good} --trigger {trigger}"),
            "the request is for trg_",
        ),
        (good.clone(), "required"),
        (
            format!("{good} --secret-file {secret} --scheme x"),
            "is no scheme",
        ),
        (
            format!("{good} --secret-file {secret} --scheme {{}}"),
            "not one that a trigger may have",
        ),
        (
            format!("{good}x --secret-file {secret}"),
            "cannot be read as a request",
        ),
    ] {
        let told = run(&line).await.unwrap_err();
        assert!(told.contains(said), "{line}: {told}");
    }
}
