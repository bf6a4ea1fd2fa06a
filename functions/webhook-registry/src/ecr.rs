//! Amazon Elastic Container Registry, whose events EventBridge posts by a rule with an API destination. They are no
//! CloudEvents.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>

use model::Vendor;
use serde::Deserialize;
use webhook::image::{Named, When, ignored};
use webhook::{Name, ParseError, Parsed};

/// An event of EventBridge.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Event {
    detail_type: Name<255>,
    account: Name<64>,
    region: Name<64>,
    #[serde(default)]
    time: When,
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    action_type: Option<Name<64>>,
    result: Option<Name<64>>,
    repository_name: Option<Name<255>>,
    image_tag: Option<Name<255>>,
    image_digest: Option<Name<255>>,
    manifest_media_type: Option<Name<255>>,
}

impl Event {
    pub(crate) fn parsed(self) -> Result<Parsed, ParseError> {
        let text = |name: Option<Name<255>>| name.and_then(Name::filled);
        let kind = self.detail_type.as_str();
        if kind != "ECR Image Action" {
            return Ok(ignored(format!(
                "{kind:?} neither pushes nor deletes an image"
            )));
        }
        let missing = |field: &str| ParseError::malformed(field, "is missing");
        let result = self.detail.result.ok_or_else(|| missing("detail.result"))?;
        if result.as_str() != "SUCCESS" {
            return Ok(ignored(format!(
                "the action ended with {:?}",
                result.as_str()
            )));
        }
        let action = self
            .detail
            .action_type
            .ok_or_else(|| missing("detail.action-type"))?;
        let repository =
            text(self.detail.repository_name).ok_or_else(|| missing("detail.repository-name"))?;
        let region = self.region.as_str();
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let named = Named {
            registry: Some(format!(
                "{}.dkr.ecr.{region}.{domain}",
                self.account.as_str()
            )),
            tag: text(self.detail.image_tag),
            digest: text(self.detail.image_digest),
            media_type: text(self.detail.manifest_media_type),
            occurred_at: self.time.0,
            ..Named::new(Vendor::Ecr, repository)
        };
        match action.as_str() {
            "PUSH" => Ok(Parsed::Events(vec![named.pushed("detail")?])),
            "DELETE" => Ok(Parsed::Events(vec![named.deleted("detail")?])),
            other => Ok(ignored(format!("the action is {other:?}"))),
        }
    }
}
