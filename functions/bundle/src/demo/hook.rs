//! `switchyard hook-gitea`: a `post-receive` hook that tells a webhook about a push, as Gitea would.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use host::Env;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

use super::git::Git;
use super::loopback;
use super::payload::{Move, Payload, Pushed};
use crate::cli::{HookArgs, line};

/// How much the hook reads of what moved, in bytes: some ten thousand references.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// What the webhook answers.
#[derive(Debug, Deserialize)]
struct Told {
    delivery: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
}

/// Reads what moved from standard input and posts each move. Git shows what is said here to who pushed.
pub(crate) async fn hook(env: &Env, args: HookArgs) -> anyhow::Result<()> {
    let mut input = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut input)
        .context("what moved could not be read from standard input")?;
    let secret = std::fs::read_to_string(&args.secret_file).with_context(|| {
        format!(
            "could not read the secret in {}",
            args.secret_file.display()
        )
    })?;
    let folder = std::env::current_dir().context("the repository's folder is not known")?;
    let git = Git::new(env);
    for text in input.lines() {
        let moved = Move::read(text)
            .with_context(|| format!("{text:?} is not `<old> <new> <reference>`"))?;
        tell(&git, &folder, &args, secret.trim(), &moved)
            .await
            .with_context(|| {
                format!(
                    "{} was pushed, and the webhook was not told: push again, or start the deploy by hand",
                    moved.short()
                )
            })?;
    }
    Ok(())
}

async fn tell(
    git: &Git,
    folder: &Path,
    args: &HookArgs,
    secret: &str,
    moved: &Move,
) -> anyhow::Result<()> {
    let pushed = Pushed {
        repository: &args.repository,
        pusher: &args.pusher,
    };
    let payload = Payload::of(git, folder, moved, pushed).await?;
    let body = Bytes::from(serde_json::to_vec(&payload)?);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("switchyard-hook"));
    headers.insert("x-gitea-event", HeaderValue::from_static("push"));
    headers.insert(
        "x-gitea-delivery",
        delivery_id(args, moved).to_string().parse()?,
    );
    headers.insert("x-gitea-signature", signature(secret, &body).parse()?);
    let answer = loopback::post(&args.url, headers, body).await?;
    let told: Option<Told> = serde_json::from_slice(&answer.body).ok();
    let (status, short) = (answer.status, moved.short());
    if !status.is_success() {
        let detail = told.and_then(|told| told.detail).unwrap_or_default();
        bail!("the webhook answered {status}: {detail}");
    }
    let Some(told) = told else {
        bail!(
            "the webhook answered {status} with what is no answer of ours: is the address right?"
        );
    };
    let verdict = told.verdict.unwrap_or_default();
    let delivery = told.delivery.unwrap_or_default();
    let reason = told
        .reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    line(format_args!(
        "{short}: {} {verdict}{reason}, delivery {delivery}",
        status.as_u16()
    ));
    Ok(())
}

/// The same for the same move: a hook that is run again makes a duplicate and no second event.
fn delivery_id(args: &HookArgs, moved: &Move) -> Uuid {
    let Move {
        before,
        after,
        ref_name,
    } = moved;
    let name = format!("{}\n{before}\n{after}\n{ref_name}", args.repository);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_gitea_signs_it() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
