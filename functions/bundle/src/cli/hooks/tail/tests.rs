use http::{HeaderMap, HeaderName};
use webhook_testkit::Served;

use super::*;
use crate::cli::hooks::{HooksArgs, hooks};
use clap::FromArgMatches as _;

const PUSH: &str = r#"{"ref": "refs/heads/main", "before": "0000000000000000000000000000000000000001",
    "after": "0000000000000000000000000000000000000002", "created": false, "deleted": false, "forced": false,
    "commits": [], "head_commit": null, "sender": {"login": "ann"}, "pusher": {"name": "ann"},
    "repository": {"full_name": "team/app", "clone_url": "https://github.com/team/app.git",
    "html_url": "https://github.com/team/app", "default_branch": "main", "private": false}}"#;

async fn push(served: &Served, trigger: TriggerId, secret: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, PUSH.as_bytes());
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
    };
    set("content-type", "application/json");
    set("x-github-event", "push");
    set("x-github-delivery", &uuid::Uuid::new_v4().to_string());
    set(
        "x-hub-signature-256",
        &format!("sha256={}", hex::encode(tag)),
    );
    let answer = served.post(&format!("/{trigger}"), headers, PUSH).await;
    answer.body["delivery"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn operator() -> OperatorArgs {
    let command = OperatorArgs::augment_args(clap::Command::new("x"));
    OperatorArgs::from_arg_matches(&command.get_matches_from(["x"])).unwrap()
}

fn told(news: &[News]) -> Vec<String> {
    let out = Out {
        json: false,
        paint: Paint::stdout(&Env::default().with("NO_COLOR", "1")),
    };
    let mut lines = Vec::new();
    for news in news {
        match news {
            News::More => lines.push("more".to_owned()),
            News::Came(delivery) => {
                lines.push(out.came(delivery).split_once("dlv_").unwrap().1[34..].to_owned());
            }
            News::Became(delivery) => {
                lines.extend(delivery.events.iter().map(|event| out.became(event)));
            }
        }
    }
    lines
}

#[tokio::test]
async fn each_delivery_is_told_once_and_again_when_something_became_of_it() {
    let served = Served::new(&webhook_github::FUNCTION).await;
    let trigger = served.git_trigger().await;
    let place = Place::new(&served.env, &operator()).unwrap();
    let filter = DeliveryFilter {
        trigger: Some(trigger),
        ..DeliveryFilter::default()
    };
    let mut shown = Shown::default();
    let look =
        async |shown: &mut Shown| told(&shown.look(&place, served.tenant, filter).await.unwrap());
    assert_eq!(look(&mut shown).await, Vec::<String>::new());
    push(&served, trigger, webhook::conformance::SECRET).await;
    push(&served, trigger, "another").await;
    let lines = look(&mut shown).await;
    assert_eq!(lines[0], "accepted  github push  push");
    assert!(
        lines[1].starts_with("rejected  github push  push: what x-hub-signature-256 holds"),
        "{lines:?}"
    );
    assert_eq!((lines.len(), look(&mut shown).await), (2, vec![]));
    sqlx::query("update switchyard.events set dispatched_at = now()")
        .execute(&served.rows)
        .await
        .unwrap();
    let lines = look(&mut shown).await;
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("nothing: no binding matched, see its decisions (evt_"),
        "{lines:?}"
    );
    assert_eq!(look(&mut shown).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_there_before_is_not_told() {
    let served = Served::new(&webhook_github::FUNCTION).await;
    let trigger = served.git_trigger().await;
    for _ in 0..3 {
        push(&served, trigger, webhook::conformance::SECRET).await;
    }
    let place = Place::new(&served.env, &operator()).unwrap();
    let filter = DeliveryFilter::default();
    let there = newest(&place, served.tenant, filter, None, ROWS_MAX)
        .await
        .unwrap();
    let mut shown = Shown::default();
    shown.known(&there[1..]);
    assert_eq!(shown.news(there[..1].to_vec()).len(), 1);
    assert!(
        shown
            .look(&place, served.tenant, filter)
            .await
            .unwrap()
            .is_empty()
    );
    push(&served, trigger, webhook::conformance::SECRET).await;
    assert_eq!(
        shown
            .look(&place, served.tenant, filter)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_delivery_is_replayed_with_all_its_events() {
    let served = Served::new(&webhook_github::FUNCTION).await;
    let trigger = served.git_trigger().await;
    let delivery = push(&served, trigger, webhook::conformance::SECRET).await;
    let run = async |line: &str| -> Result<(), String> {
        let command = HooksArgs::augment_args(clap::Command::new("hooks"));
        let words = std::iter::once("hooks").chain(line.split_whitespace());
        let args = command
            .try_get_matches_from(words)
            .and_then(|it| HooksArgs::from_arg_matches(&it));
        let args = args.map_err(|error| error.to_string())?;
        hooks(&served.env, args)
            .await
            .map_err(|error| format!("{error:#}"))
    };
    assert_eq!(
        run(&format!("replay {delivery} --tenant acme")).await,
        Ok(())
    );
    assert_eq!(
        run(&format!("replay {delivery} --tenant acme --json")).await,
        Ok(())
    );
    let rows: Vec<(bool, bool, i64)> = sqlx::query_as(
        "select replays is not null, only_binding_id is null, (select count(*) from switchyard.outbox)
         from switchyard.events order by seq",
    )
    .fetch_all(&served.rows)
    .await
    .unwrap();
    // The first, and two of the same: replays are not replayed.
    assert_eq!(rows, [(false, true, 3), (true, true, 3), (true, true, 3)]);

    push(&served, trigger, "another").await;
    let refused: uuid::Uuid =
        sqlx::query_scalar("select id from switchyard.deliveries where verdict = 'rejected'")
            .fetch_one(&served.rows)
            .await
            .unwrap();
    let refused = DeliveryId::from(refused);
    for (line, said) in [
        (
            format!("replay {refused} --tenant acme"),
            "is rejected, and no event came of it",
        ),
        (format!("replay {trigger} --tenant acme"), "invalid value"),
        (
            format!("replay {delivery}"),
            "no tenant with the name \"default\"",
        ),
        (
            "replay dlv_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f --tenant acme".to_owned(),
            "acme has no delivery",
        ),
        (
            format!(
                "replay {delivery} --tenant acme --binding bnd_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f"
            ),
            "has no binding bnd_",
        ),
        (
            "tail --trigger trg_0190d7d5a1b27c3d8e4f5a6b7c8d9e0f --no-follow".to_owned(),
            "there is no trigger",
        ),
    ] {
        let told = run(&line).await.unwrap_err();
        assert!(told.contains(said), "{line}: {told}");
    }
    assert_eq!(
        run(&format!("tail --trigger {trigger} --no-follow --json")).await,
        Ok(())
    );
    assert_eq!(run("tail --tenant acme --last 2 --no-follow").await, Ok(()));
}
