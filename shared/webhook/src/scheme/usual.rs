//! What senders do that a trigger gives no scheme: each signs as its documents say, or sends the secret where it always does. A
//! trigger's scheme, where it has one, counts instead.

use crate::scheme::configured::{AUTHORIZATION, BASIC};
use crate::{BadSignature, Delivery, HmacSha256, Raw, Secrets, Signed, Which};

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
const GITHUB: HmacSha256 = HmacSha256 {
    header: "x-hub-signature-256",
    prefix: "sha256=",
    signed: Signed::Body,
};

/// Both kinds of Bitbucket sign with SHA-256 under the header that others use for SHA-1, which is not taken.
/// <https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/#Secure-webhooks>
const BITBUCKET: HmacSha256 = HmacSha256 {
    header: "x-hub-signature",
    prefix: "sha256=",
    signed: Signed::Body,
};

/// Where Gitea and its relatives sign. Forgejo's own header decides when it is there: a bad one is not rescued by a good one
/// of another name.
const GITEA: [&str; 3] = [
    "x-forgejo-signature",
    "x-gitea-signature",
    "x-gogs-signature",
];

/// Where a hook of GitLab with a signing token signs.
const GITLAB_SIGNATURE: &str = "webhook-signature";
/// Where a hook of GitLab with a secret token sends it.
const GITLAB_TOKEN: &str = "x-gitlab-token";

impl Delivery<Raw> {
    /// Checks a request of GitHub: a SHA-256 HMAC over the body.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_github(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        self.by_scheme_or(secrets, || self.check(&GITHUB, secrets))
    }

    /// Checks a request of Bitbucket, Cloud or Data Center: a SHA-256 HMAC over the body.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_bitbucket(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        self.by_scheme_or(secrets, || self.check(&BITBUCKET, secrets))
    }

    /// Checks a request of Gitea, Forgejo or Gogs: a SHA-256 HMAC over the payload, which they sign before they put it into a
    /// form. <https://github.com/go-gitea/gitea/blob/main/services/webhook/deliver.go>
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_gitea(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        let there = |name: &&str| self.headers().contains_key(*name);
        let scheme = HmacSha256 {
            header: GITEA.into_iter().find(there).unwrap_or("x-gitea-signature"),
            prefix: "",
            signed: Signed::Payload,
        };
        self.by_scheme_or(secrets, || self.check(&scheme, secrets))
    }

    /// Checks a request of GitLab. A hook has a secret token, which it sends as it is, or a signing token, with which it signs as
    /// Standard Webhooks do. A signature decides where there is one: a token beside it does not rescue a bad one.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_gitlab(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        self.by_scheme_or(secrets, || {
            if self.headers().contains_key(GITLAB_SIGNATURE) {
                self.check_standard(secrets)
            } else {
                self.check_token(GITLAB_TOKEN, "", secrets)
            }
        })
    }

    /// Checks a request of a sender without headers of its own: the secret in `Authorization`, as it is or behind `Bearer `, or
    /// as the password of HTTP Basic, which is what Azure DevOps has.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_authorization(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        let given = self.header(AUTHORIZATION).ok().flatten();
        let begin = given.and_then(|given| given.get(..BASIC.len()));
        if secrets.scheme().is_none() && begin.is_some_and(|it| it.eq_ignore_ascii_case(BASIC)) {
            self.check_password(secrets)
        } else {
            self.check_configured(secrets)
        }
    }

    fn by_scheme_or(
        &self,
        secrets: &Secrets,
        usual: impl FnOnce() -> Result<Which, BadSignature>,
    ) -> Result<Which, BadSignature> {
        match secrets.scheme() {
            Some(_) => self.check_configured(secrets),
            None => usual(),
        }
    }
}
