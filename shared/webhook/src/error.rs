//! Why a delivery is refused.

use std::borrow::Cow;

use model::Vendor;

/// How many characters of a sender's text an error repeats.
const REPEATED_CHARS_MAX: usize = 300;

/// Why a signature does not hold. The sender gets one answer for all of them; the reason is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The header is not there, or empty, as a hook without a secret sends it.
    #[error("there is no {0} header, or it is empty: give the hook the trigger's secret")]
    Missing(Cow<'static, str>),
    /// The header is there more than once, so that it says two things.
    #[error("the {0} header is there more than once")]
    Repeated(Cow<'static, str>),
    /// The header is not exactly of the form that the scheme asks for.
    #[error(
        "the {0} header is not of the form that is expected there, such as 64 lower-case hexadecimal digits for a SHA-256"
    )]
    Malformed(Cow<'static, str>),
    /// The form has no single `payload` field, which is what its sender signs.
    #[error("the form has no single `payload` field, which is what is signed")]
    NoPayload,
    /// Neither secret made this signature, or the trigger has no secret.
    #[error("what {0} holds was not made with the trigger's secret, or not over this body")]
    Mismatch(Cow<'static, str>),
    /// The time that is signed is no time in seconds, or too far from now.
    #[error("the time in {0} is not within 5 minutes of now: compare the clocks")]
    Stale(Cow<'static, str>),
    /// The trigger wants a secret in the path of its URL, and there is none.
    #[error("the URL ends before its secret: give the hook the whole of the trigger's URL")]
    NoPathSecret,
    /// The secret in the path is not the trigger's.
    #[error("the secret in the URL's path is not the trigger's")]
    PathSecret,
    /// The trigger asks where a request comes from, and nobody says it.
    #[error(
        "it is not known where the request comes from: X-Forwarded-For names no address outside TRUSTED_PROXIES"
    )]
    NoAddress,
    /// The request comes from elsewhere.
    #[error("the request comes from an address that the trigger does not list")]
    Address,
    /// The identity token does not hold.
    #[error("the identity token {0}")]
    Identity(BadIdentity),
}

impl BadSignature {
    /// What is probably wrong.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Missing(_) => Cause::NotSigned,
            Self::Repeated(_) | Self::Malformed(_) | Self::NoPayload => Cause::OtherScheme,
            Self::Mismatch(_) => Cause::OtherSecret,
            Self::Stale(_) => Cause::Clock,
            Self::NoPathSecret | Self::PathSecret => Cause::OtherUrl,
            Self::NoAddress => Cause::NoAddress,
            Self::Address => Cause::Address,
            Self::Identity(_) => Cause::Identity,
        }
    }
}

/// What is probably wrong where requests do not verify: for a person, who has to look at one of few things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No such trigger: the URL is of one that is gone, or mistyped.
    NoTrigger,
    /// The hook has no secret.
    NotSigned,
    /// The hook proves itself in another way than the trigger asks for.
    OtherScheme,
    /// The hook has another secret than the trigger.
    OtherSecret,
    /// The sender's clock, or ours.
    Clock,
    /// The URL has not the trigger's secret in its path.
    OtherUrl,
    /// Nobody says where requests come from.
    NoAddress,
    /// Requests come from somewhere else.
    Address,
    /// The identity token is for somebody or something else.
    Identity,
}

impl Cause {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTrigger => "no_trigger",
            Self::NotSigned => "not_signed",
            Self::OtherScheme => "other_scheme",
            Self::OtherSecret => "other_secret",
            Self::Clock => "clock",
            Self::OtherUrl => "other_url",
            Self::NoAddress => "no_address",
            Self::Address => "address",
            Self::Identity => "identity",
        }
    }
}

/// Why an identity token does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// It is no signed token, or one by another algorithm than its maker's.
    #[error("is not a token signed with RS256")]
    Malformed,
    /// No known key is meant.
    #[error("is signed with a key that its maker does not publish")]
    UnknownKey,
    /// It was changed, or made by somebody else.
    #[error("has a signature that does not hold")]
    Signature,
    /// It is too old, or not good yet.
    #[error("is not good now: it has expired, or is not valid yet")]
    Expired,
    /// Somebody else made it.
    #[error("was made by another issuer than the trigger's")]
    Issuer,
    /// It was made for somebody else.
    #[error("was made for another audience than the trigger's")]
    Audience,
    /// It is somebody else's, or nobody verified whose.
    #[error("is not that of the trigger's service account, with its address verified")]
    Email,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is there more than once.
    #[error("is there more than once")]
    Repeated,
    /// It is not visible ASCII.
    #[error("is not visible ASCII")]
    NotText,
}

/// Why the payload of a verified delivery cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The content type or encoding is not one that is read.
    #[error(
        "{given} is not supported: send application/json or application/x-www-form-urlencoded, not compressed"
    )]
    UnsupportedMedia {
        /// What the request says it is.
        given: String,
    },
    /// The headers are those of a sender that has a URL of its own.
    #[error(
        "this is a delivery of {claimed}, and this URL is for {here}: use the URL for {claimed}"
    )]
    OtherVendor {
        /// Whose headers they are.
        claimed: Vendor,
        /// Whom this URL is for.
        here: &'static str,
    },
    /// An event or a batch is larger than is taken at once.
    #[error("{0}")]
    TooLarge(String),
    /// The event says that it is one of ours.
    #[error("{given:?} is reserved for events that are made here")]
    Reserved {
        /// The type or source.
        given: String,
    },
    /// No header says what the payload is.
    #[error("no header says which event this is, such as x-github-event or x-gitea-event")]
    NoSender,
    /// A header that says what the payload is cannot be used.
    #[error("the {name} header {problem}")]
    Header {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// The payload is not what its headers say.
    #[error("the payload is not what this sender sends: {at}: {problem}")]
    Malformed {
        /// Where: a path such as `commits[3].id`, or a byte.
        at: String,
        /// What was found and what is expected.
        problem: String,
    },
}

impl ParseError {
    /// A malformed payload. What is repeated of it is cut, and its control characters are escaped.
    #[must_use]
    pub fn malformed(at: &str, problem: &str) -> Self {
        Self::Malformed {
            at: printable(at),
            problem: printable(problem),
        }
    }
}

/// A sender's text, safe to show and to store: short and without control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(REPEATED_CHARS_MAX)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(REPEATED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
