//! The table of senders.

use model::Scheme;
use webhook_azure::Azure;
use webhook_bitbucket::Bitbucket;
use webhook_gitea::Gitea;
use webhook_github::Github;
use webhook_gitlab::Gitlab;

use crate::{Judge, Proof};

/// One sender as it is set up in one way.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Who, and how it is set up.
    pub sender: &'static str,
    /// The folder with what it sent.
    pub folder: &'static str,
    /// The page that says which headers it sends.
    pub source: &'static str,
    /// Which function reads it.
    pub judge: Judge,
    /// The headers of an event, without the proof.
    pub headers: fn(&str) -> Vec<(&'static str, String)>,
    /// The proof.
    pub proof: Proof,
    /// The scheme that the trigger names, where the function does not know it by itself.
    pub scheme: Option<&'static str>,
}

impl Row {
    /// The trigger's scheme.
    ///
    /// # Panics
    /// When the table names one that there is not.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
            .map(|scheme| serde_json::from_str(scheme).expect("the table names a scheme"))
    }
}

const UUID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

fn github(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("user-agent", "GitHub-Hookshot/044aadd".to_owned()),
        ("x-github-delivery", UUID.to_owned()),
        ("x-github-event", event.to_owned()),
        ("x-github-hook-id", "292430182".to_owned()),
        (
            "x-github-hook-installation-target-id",
            "79929171".to_owned(),
        ),
        (
            "x-github-hook-installation-target-type",
            "repository".to_owned(),
        ),
    ]
}

fn gogs(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("user-agent", "GogsServer".to_owned()),
        ("x-gogs-delivery", UUID.to_owned()),
        ("x-gogs-event", event.to_owned()),
    ]
}

fn gitea(event: &str) -> Vec<(&'static str, String)> {
    let mut headers = gogs(event);
    headers.retain(|(name, _)| *name != "user-agent");
    headers.extend([
        ("x-gitea-delivery", UUID.to_owned()),
        ("x-gitea-event", event.to_owned()),
        ("x-gitea-event-type", event.to_owned()),
        ("x-github-delivery", UUID.to_owned()),
        ("x-github-event", event.to_owned()),
        ("x-github-event-type", event.to_owned()),
        ("x-gogs-event-type", event.to_owned()),
    ]);
    headers
}

fn forgejo(event: &str) -> Vec<(&'static str, String)> {
    let mut headers = gitea(event);
    headers.extend([
        ("x-forgejo-delivery", UUID.to_owned()),
        ("x-forgejo-event", event.to_owned()),
        ("x-forgejo-event-type", event.to_owned()),
    ]);
    headers
}

fn gitlab(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("user-agent", "GitLab/18.6.0".to_owned()),
        ("idempotency-key", UUID.to_owned()),
        ("x-gitlab-event", event.to_owned()),
        ("x-gitlab-event-uuid", UUID.to_owned()),
        (
            "x-gitlab-instance",
            "https://gitlab.example.test".to_owned(),
        ),
        ("x-gitlab-webhook-uuid", UUID.to_owned()),
    ]
}

fn bitbucket(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("user-agent", "Bitbucket-Webhooks/2.0".to_owned()),
        ("x-attempt-number", "1".to_owned()),
        ("x-event-key", event.to_owned()),
        ("x-hook-uuid", UUID.to_owned()),
        ("x-request-uuid", UUID.to_owned()),
    ]
}

fn data_center(event: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "user-agent",
            "Atlassian HttpClient 2.1.5 / Bitbucket-8.19.0 (8019000) / Default".to_owned(),
        ),
        ("x-event-key", event.to_owned()),
        ("x-request-id", UUID.to_owned()),
    ]
}

fn azure(_: &str) -> Vec<(&'static str, String)> {
    vec![(
        "user-agent",
        "VSServices/19.225.34309.2 (NetStandard; Microsoft Windows 10.0.20348)".to_owned(),
    )]
}

const GITHUB: Row = Row {
    sender: "GitHub",
    folder: "github",
    source: "https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers",
    judge: Judge::of::<Github>("webhook-github"),
    headers: github,
    proof: Proof::Hmac(&[("x-hub-signature-256", "sha256=")]),
    scheme: None,
};

const GITEA: Row = Row {
    sender: "Gitea",
    folder: "gitea",
    source: "https://github.com/go-gitea/gitea/blob/main/services/webhook/deliver.go",
    judge: Judge::of::<Gitea>("webhook-gitea"),
    headers: gitea,
    proof: Proof::Hmac(&[
        ("x-gitea-signature", ""),
        ("x-gogs-signature", ""),
        ("x-hub-signature-256", "sha256="),
    ]),
    scheme: None,
};

const GITLAB: Row = Row {
    sender: "GitLab with a secret token",
    folder: "gitlab",
    source: "https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers",
    judge: Judge::of::<Gitlab>("webhook-gitlab"),
    headers: gitlab,
    proof: Proof::Token("x-gitlab-token"),
    scheme: None,
};

const AZURE: Row = Row {
    sender: "Azure DevOps with basic authentication",
    folder: "azure",
    source: "https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks",
    judge: Judge::of::<Azure>("webhook-azure"),
    headers: azure,
    proof: Proof::Basic,
    scheme: None,
};

/// Every sender in every way that it can be set up.
pub const ROWS: &[Row] = &[
    Row {
        sender: "Forgejo",
        source: "https://forgejo.org/docs/latest/user/webhooks/",
        headers: forgejo,
        proof: Proof::Hmac(&[
            ("x-forgejo-signature", ""),
            ("x-gitea-signature", ""),
            ("x-gogs-signature", ""),
            ("x-hub-signature-256", "sha256="),
        ]),
        ..GITEA
    },
    GITEA,
    Row {
        sender: "Gogs",
        folder: "gogs",
        source: "https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md",
        headers: gogs,
        proof: Proof::Hmac(&[("x-gogs-signature", "")]),
        ..GITEA
    },
    GITHUB,
    Row {
        sender: "GitHub's container registry",
        folder: "ghcr",
        source: "https://docs.github.com/en/webhooks/webhook-events-and-payloads#package",
        ..GITHUB
    },
    GITLAB,
    Row {
        sender: "GitLab with a signing token",
        source: "https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944",
        proof: Proof::Standard,
        ..GITLAB
    },
    Row {
        sender: "Bitbucket Cloud",
        folder: "bitbucket",
        source: "https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#HTTP-headers",
        judge: Judge::of::<Bitbucket>("webhook-bitbucket"),
        headers: bitbucket,
        proof: Proof::Hmac(&[("x-hub-signature", "sha256=")]),
        scheme: None,
    },
    Row {
        sender: "Bitbucket Data Center",
        folder: "stash",
        source: "https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html",
        judge: Judge::of::<Bitbucket>("webhook-bitbucket"),
        headers: data_center,
        proof: Proof::Hmac(&[("x-hub-signature", "sha256=")]),
        scheme: None,
    },
    AZURE,
    Row {
        sender: "Azure DevOps with a header of its own",
        proof: Proof::Token("x-hook-token"),
        scheme: Some(r#"{"kind": "token", "header": "x-hook-token"}"#),
        ..AZURE
    },
];
