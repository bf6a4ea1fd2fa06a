//! AWS: who one is.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>

use http::StatusCode;
use store::credentials::AwsConfig;

use super::sigv4::{Signing, sign};
use super::{Asked, Verdict, folded, said};

const FORM: &str = "Action=GetCallerIdentity&Version=2011-06-15";

pub(crate) async fn check(asked: &Asked<'_>, config: &AwsConfig) -> Verdict {
    folded(identity(asked, config).await)
}

async fn identity(asked: &Asked<'_>, config: &AwsConfig) -> Result<Verdict, Verdict> {
    let url = asked.url("/")?;
    let headers = sign(
        asked.login,
        &Signing {
            method: "POST",
            path: "/",
            query: "",
            service: "sts",
            region: &config.region,
            body: FORM,
            with_body_digest: false,
            now: asked.now,
        },
    )?;
    let answer = asked.post_form(&url, headers, FORM.to_owned()).await?;
    let host = &asked.login.host;
    let code = error_code(&answer.body);
    Ok(match answer.status {
        status if status.is_success() => Verdict::Good,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => {
            match code.as_deref() {
                // It is our clock, and not the key.
                Some("RequestExpired" | "RequestTimeTooSkewed" | "Throttling") => {
                    answer.unsure(host)
                }
                Some(code) => Verdict::Bad(format!("{host} refuses it: {code}")),
                None => Verdict::Bad(format!("{host} refuses it: {}", answer.status.as_u16())),
            }
        }
        _ => answer.unsure(host),
    })
}

/// The `<Code>` of an error document of AWS.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(said(code))
}
