//! A bucket: listing one name of it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use http::StatusCode;
use store::credentials::S3Config;

use super::aws::error_code;
use super::sigv4::{Signing, sign};
use super::{Asked, Verdict, folded};

/// In the order in which it is signed.
const QUERY: &str = "list-type=2&max-keys=1";

pub(crate) async fn check(asked: &Asked<'_>, config: &S3Config) -> Verdict {
    folded(listed(asked, config).await)
}

async fn listed(asked: &Asked<'_>, config: &S3Config) -> Result<Verdict, Verdict> {
    let bucket = &config.bucket;
    let path = format!("/{bucket}");
    let url = asked.url(&format!("{path}?{QUERY}"))?;
    let headers = sign(
        asked.login,
        &Signing {
            method: "GET",
            path: &path,
            query: QUERY,
            service: "s3",
            region: &config.region,
            body: "",
            with_body_digest: true,
            now: asked.now,
        },
    )?;
    let answer = asked.get(&url, headers).await?;
    let host = &asked.login.host;
    let code = error_code(&answer.body);
    Ok(match answer.status {
        status if status.is_success() => Verdict::Good,
        StatusCode::NOT_FOUND => Verdict::Bad(format!("{host} has no bucket {bucket}")),
        StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT => {
            let region = answer.headers.get("x-amz-bucket-region");
            let region = region.and_then(|value| value.to_str().ok());
            let region = region.unwrap_or("another region");
            Verdict::Bad(format!(
                "the bucket {bucket} is in {region}, not in {}",
                config.region
            ))
        }
        StatusCode::FORBIDDEN if code.as_deref() == Some("RequestTimeTooSkewed") => {
            Verdict::Unsure(format!("{host} has another time than we have"))
        }
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => {
            let code = code.unwrap_or_else(|| answer.status.as_u16().to_string());
            Verdict::Bad(format!("{host} refuses to list {bucket}: {code}"))
        }
        _ => answer.unsure(host),
    })
}
