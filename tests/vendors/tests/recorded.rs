//! Every payload that others recorded, from every sender that could have sent it.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use vendors::{Judge, Proof, ROWS, Recorded, Request, Row, Verdict, golden, recorded};
use webhook::{Normalised, Parsed, SENDERS, sender, shape};

/// Where ours differs from theirs on purpose: a file, a field, and why.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

fn webhooks() -> Option<PathBuf> {
    testkit::conformance("webhooks")
}

/// Every payload of every row, with what it is named in failures.
fn all(webhooks: &std::path::Path) -> Vec<(&'static Row, Recorded, String)> {
    ROWS.iter()
        .flat_map(|row| {
            recorded(webhooks, row.folder).into_iter().map(move |it| {
                let name = format!("{} from {}", it.file, row.sender);
                (row, it, name)
            })
        })
        .collect()
}

fn facts(verdict: &Verdict) -> &[Normalised] {
    match verdict {
        Verdict::Read(Parsed::Events(facts)) => facts,
        Verdict::Read(Parsed::Ping | Parsed::Ignored { .. })
        | Verdict::Refused
        | Verdict::Malformed(_) => &[],
    }
}

/// Whether an event starts something, by what its vendor documents. `None` where it depends on what the payload says.
fn becomes_events(row: &Row, it: &Recorded) -> Option<bool> {
    let kind = match row.folder {
        // The header does not always say it.
        "gitlab" => {
            let body: Value = serde_json::from_slice(&it.body).expect("it is JSON");
            body["object_kind"].as_str().unwrap_or_default().to_owned()
        }
        _ => it.event.clone(),
    };
    match kind.as_str() {
        "push"
        | "tag_push"
        | "create"
        | "delete"
        | "pull_request"
        | "pull_request_review"
        | "release"
        | "merge_request"
        | "repo:push"
        | "repo:refs_changed"
        | "git.push"
        | "git.pullrequest.created"
        | "git.pullrequest.updated"
        | "git.pullrequest.merged" => Some(true),
        kind if kind.contains(":comment") => Some(false),
        kind if kind.starts_with("pullrequest:") || kind.starts_with("pr:") => Some(true),
        // Those that have not ended, and packages that are no images, start nothing.
        "workflow_run"
        | "check_run"
        | "pipeline"
        | "package"
        | "repo:commit_status_created"
        | "repo:commit_status_updated" => None,
        _ => Some(false),
    }
}

#[test]
fn every_payload_is_read_as_its_vendor_documents() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let verdict = Request::new(row, &it.event, &it.body).verdict();
        let Verdict::Read(parsed) = &verdict else {
            panic!("{name}: {verdict:?}");
        };
        let events = matches!(parsed, Parsed::Events(events) if !events.is_empty());
        if let Some(expected) = becomes_events(row, &it) {
            assert_eq!(events, expected, "{name}: {parsed:?}");
        }
    }
}

#[test]
fn an_image_is_what_has_container_metadata() {
    let Some(webhooks) = webhooks() else { return };
    let row = ROWS
        .iter()
        .find(|row| row.folder == "ghcr")
        .expect("it is in the table");
    for it in recorded(&webhooks, "ghcr") {
        let text = String::from_utf8_lossy(&it.body);
        let verdict = Request::new(row, &it.event, &it.body).verdict();
        let image = matches!(facts(&verdict), [Normalised::ImagePushed(_)]);
        let metadata = text.contains("\"container_metadata\"");
        assert_eq!(image, metadata, "{}: {verdict:?}", it.file);
    }
}

#[test]
fn others_read_the_same() {
    let Some(webhooks) = webhooks() else { return };
    let mut compared = 0;
    let mut found = Vec::new();
    for (row, it, name) in all(&webhooks) {
        let Some((kind, golden)) = &it.golden else {
            continue;
        };
        if !golden::is_compared(kind) {
            continue;
        }
        compared += 1;
        let verdict = Request::new(row, &it.event, &it.body).verdict();
        let excepted = |difference: &String| {
            EXCEPTIONS
                .iter()
                .any(|(file, field, _)| it.file == *file && difference.starts_with(field))
        };
        found.extend(
            golden::differences(kind, golden, facts(&verdict))
                .into_iter()
                .filter(|difference| !excepted(difference))
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(compared > 100, "only {compared} were compared");
}

/// Every function that is in the table, once.
fn judges() -> Vec<Judge> {
    let mut judges: Vec<Judge> = ROWS.iter().map(|row| row.judge).collect();
    judges.sort_by_key(|judge| judge.function);
    judges.dedup_by_key(|judge| judge.function);
    judges
}

#[test]
fn exactly_one_parser_claims_each_request() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let request = Request::new(row, &it.event, &it.body);
        let claimed: Vec<_> = judges()
            .into_iter()
            .filter(|judge| (judge.claims)(&request.headers))
            .map(|judge| judge.function)
            .collect();
        let body: Value = serde_json::from_slice(&it.body).expect("it is JSON");
        let detected = match sender(&request.headers) {
            Some(sender) => {
                assert_eq!(claimed, [sender.function], "{name}");
                sender.function
            }
            None => {
                assert!(claimed.is_empty(), "{name}: {claimed:?}");
                shape(&body).map_or("nobody", |shape| shape.function)
            }
        };
        assert_eq!(detected, row.judge.function, "{name}");
    }
}

#[test]
fn every_other_function_refuses_it() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let request = Request::new(row, &it.event, &it.body);
        for other in judges() {
            if other.function == row.judge.function {
                continue;
            }
            let verdict = other.verdict(
                &request.headers,
                &request.body,
                vendors::SECRET,
                row.scheme(),
            );
            assert!(
                matches!(verdict, Verdict::Refused | Verdict::Malformed(_)),
                "{name} at {}: {verdict:?}",
                other.function
            );
        }
    }
}

#[test]
fn every_sender_of_the_table_of_senders_is_tried() {
    let rows: Vec<_> = ROWS
        .iter()
        .map(|row| {
            let request = Request::new(row, "push", b"{}");
            sender(&request.headers).map(|sender| sender.vendor)
        })
        .collect();
    for sender in &SENDERS {
        if sender.function.starts_with("webhook-g") || sender.function == "webhook-bitbucket" {
            assert!(rows.contains(&Some(sender.vendor)), "{sender:?}");
        }
    }
    for row in ROWS {
        assert!(row.source.starts_with("https://"), "{}", row.sender);
    }
}

/// Runs a change of a request on every payload, which must then be refused.
fn refused(what: &str, change: impl Fn(&Row, Request) -> Option<Request>) {
    let Some(webhooks) = webhooks() else { return };
    let mut tried = 0;
    for (row, it, name) in all(&webhooks) {
        let request = Request::new(row, &it.event, &it.body);
        assert!(
            matches!(request.verdict(), Verdict::Read(_)),
            "{name} as it is"
        );
        if let Some(changed) = change(row, request) {
            tried += 1;
            assert_eq!(changed.verdict(), Verdict::Refused, "{name} with {what}");
        }
    }
    assert!(tried > 0, "nobody was tried with {what}");
}

#[test]
fn one_flipped_byte_is_refused() {
    refused("a flipped byte", |row, mut request| {
        if row.proof.signs_body() {
            let middle = request.body.len() / 2;
            request.body[middle] ^= 1;
            return Some(request);
        }
        // The last but one letter: in base64 the last says little.
        Some(request.with_proof(|value| {
            let mut bytes = value.as_bytes().to_vec();
            let at = bytes.len() - 6;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).expect("letters")
        }))
    });
}

#[test]
fn a_downgrade_to_sha1_is_refused() {
    refused("a signature by SHA-1", |row, request| {
        if !row.proof.is_hexadecimal() {
            return None;
        }
        Some(request.with_proof(|value| {
            let digits = value.rsplit('=').next().unwrap_or(value);
            let short = &digits[..40];
            if value.contains('=') {
                format!("sha1={short}")
            } else {
                short.to_owned()
            }
        }))
    });
    // The right digits under the wrong name are no better.
    refused("SHA-256 that is called SHA-1", |row, request| {
        let named = row.proof.is_hexadecimal()
            && request
                .proofs()
                .iter()
                .all(|name| name.as_str().starts_with("x-hub"));
        named.then(|| request.with_proof(|value| value.replace("sha256=", "sha1=")))
    });
    // Standard Webhooks has versions instead.
    refused("another version of the signature", |row, request| {
        let standard = row.proof == Proof::Standard;
        standard.then(|| request.with_proof(|value| value.replace("v1,", "v0,")))
    });
}

#[test]
fn a_stripped_proof_is_refused() {
    refused("no proof", |_, mut request| {
        for name in request.proofs() {
            request.headers.remove(name);
        }
        Some(request)
    });
    refused("an empty proof", |_, request| {
        Some(request.with_proof(|_| String::new()))
    });
}

#[test]
fn upper_case_digits_are_refused() {
    refused("upper-case digits", |row, request| {
        row.proof.is_hexadecimal().then(|| {
            request.with_proof(|value| match value.split_once('=') {
                Some((prefix, digits)) => format!("{prefix}={}", digits.to_uppercase()),
                None => value.to_uppercase(),
            })
        })
    });
}

#[test]
fn another_triggers_secret_is_refused() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let request = Request::of_another_trigger(row, &it.event, &it.body);
        assert_eq!(request.verdict(), Verdict::Refused, "{name}");
    }
}

#[test]
fn truncated_json_that_is_signed_again_is_malformed() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let whole = it.body.trim_ascii_end().len();
        for length in [whole - 1, whole / 2, 1, 0] {
            let verdict = Request::new(row, &it.event, &it.body[..length]).verdict();
            assert!(
                matches!(verdict, Verdict::Malformed(_)),
                "{name} cut to {length} bytes: {verdict:?}"
            );
        }
    }
}

#[test]
fn an_action_that_is_no_word_is_malformed() {
    let Some(webhooks) = webhooks() else { return };
    for (row, it, name) in all(&webhooks) {
        let mut body: Value = serde_json::from_slice(&it.body).expect("it is JSON");
        let place = match row.folder {
            "gitlab" => "/object_attributes/action",
            _ => "/action",
        };
        let acted = matches!(row.folder, "github" | "gitea" | "gogs" | "ghcr")
            || (row.folder == "gitlab" && body["object_kind"] == "merge_request");
        match body.pointer_mut(place) {
            Some(action) if acted => *action = "../../x".into(),
            Some(_) | None => continue,
        }
        let verdict = Request::new(row, &it.event, body.to_string().as_bytes()).verdict();
        assert!(
            matches!(verdict, Verdict::Malformed(_)),
            "{name}: {verdict:?}"
        );
    }
}

#[test]
fn the_body_of_another_sender_is_malformed() {
    let Some(webhooks) = webhooks() else { return };
    let push = |folder: &str| {
        let all = recorded(&webhooks, folder);
        let it = all.into_iter().find(|it| it.file.ends_with("/push.json"));
        it.expect("every Git host has one").body
    };
    // Gitea, Forgejo and Gogs send the same.
    let families = ["github", "gitea", "gitlab", "bitbucket", "stash", "azure"];
    for row in ROWS.iter().filter(|row| families.contains(&row.folder)) {
        for other in families.into_iter().filter(|it| *it != row.folder) {
            let event = match row.folder {
                "gitlab" => "Push Hook",
                "bitbucket" => "repo:push",
                "stash" => "repo:refs_changed",
                _ => "push",
            };
            let verdict = Request::new(row, event, &push(other)).verdict();
            assert!(
                matches!(verdict, Verdict::Malformed(_)),
                "a push of {other} from {}: {verdict:?}",
                row.sender
            );
        }
    }
}

/// What a field may be instead of what it is.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|it| serde_json::json!(it)),
        ".{0,40}".prop_map(Value::from),
        "[0-9a-f]{0,65}".prop_map(Value::from),
        Just(Value::from("refs/heads/../x")),
        Just(Value::from("\u{0}")),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([[{"id": 1}], null])),
    ]
}

/// All places in a payload, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(field, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate().take(3) {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_payload_makes_a_parser_panic(
        which in any::<prop::sample::Index>(),
        places_changed in prop::collection::vec((any::<prop::sample::Index>(), anything()), 1..4),
    ) {
        let Some(webhooks) = webhooks() else { return Ok(()) };
        let row = which.get(ROWS);
        let all = recorded(&webhooks, row.folder);
        let it = which.get(&all);
        let mut body: Value = serde_json::from_slice(&it.body).expect("it is JSON");
        for (place, value) in places_changed {
            let mut found = Vec::new();
            places(&body, "", &mut found);
            if let Some(field) = body.pointer_mut(place.get::<String>(&found)) {
                *field = value;
            }
        }
        let verdict = Request::new(row, &it.event, body.to_string().as_bytes()).verdict();
        prop_assert!(!matches!(verdict, Verdict::Refused), "{verdict:?}");
        // What is told can be stored and read back.
        for fact in facts(&verdict) {
            let json = serde_json::to_string(fact).expect("it is plain data");
            prop_assert!(!json.contains("\\u0000"), "{json}");
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(
        which in any::<prop::sample::Index>(),
        event in "[a-z_:.]{0,30}",
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let row = which.get(ROWS);
        let verdict = Request::new(row, &event, &body).verdict();
        prop_assert!(!matches!(verdict, Verdict::Refused), "{verdict:?}");
    }

    #[test]
    fn no_other_proof_is_accepted(
        which in any::<prop::sample::Index>(),
        proof in "[ -~]{0,200}",
    ) {
        let row = which.get(ROWS);
        let request = Request::new(row, "push", b"{}");
        let same = request.proofs().iter().any(|name| request.headers[name] == proof.trim());
        prop_assume!(!same);
        let verdict = request.with_proof(|_| proof.clone()).verdict();
        prop_assert_eq!(verdict, Verdict::Refused);
    }
}
