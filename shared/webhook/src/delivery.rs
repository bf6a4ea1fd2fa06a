//! A delivery before and after its signature was checked.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use secrecy::SecretString;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::printable;
use crate::scheme::hmac;
use crate::{
    BadSignature, HeaderProblem, HmacSha256, Labels, ParseError, Parsed, Secrets, Sender, Signed,
    Vendor, Which, form, json, sender,
};

/// How many characters of an event's name are repeated.
const EVENT_NAME_CHARS_MAX: usize = 100;

/// Nobody has checked the signature.
#[derive(Debug)]
pub enum Raw {}

/// The signature held over these bytes.
#[derive(Debug)]
pub enum Verified {}

/// One request that came in: its headers and its body's bytes as they were sent.
pub struct Delivery<State> {
    headers: HeaderMap,
    body: Bytes,
    received_at: DateTime<Utc>,
    from: Option<IpAddr>,
    path_secret: Option<SecretString>,
    state: PhantomData<State>,
}

/// Bodies and headers are never logged, so neither is shown.
impl<State> fmt::Debug for Delivery<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl<State> Delivery<State> {
    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How many bytes the body has.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// When it came in.
    #[must_use]
    pub fn received_at(&self) -> DateTime<Utc> {
        self.received_at
    }

    /// The one value of a header, or `None` when it is not there.
    ///
    /// # Errors
    /// When it is there more than once, or is not visible ASCII.
    pub fn header(&self, name: &str) -> Result<Option<&str>, HeaderProblem> {
        one(&self.headers, name)
    }

    /// Whose headers these are.
    #[must_use]
    pub fn sender(&self) -> Option<&'static Sender> {
        sender(&self.headers)
    }

    /// Whether the body is what its sender wrote: nothing here is unpacked.
    ///
    /// # Errors
    /// When it is compressed, or nobody can tell.
    pub fn uncompressed(&self) -> Result<(), ParseError> {
        match self.header(CONTENT_ENCODING.as_str()) {
            Ok(None | Some("identity")) => Ok(()),
            Ok(Some(given)) => Err(unsupported("content encoding", given)),
            Err(problem) => Err(ParseError::Header {
                name: "content-encoding",
                problem,
            }),
        }
    }

    fn media(&self) -> Result<Media, ParseError> {
        self.uncompressed()?;
        let given = self
            .header(CONTENT_TYPE.as_str())
            .map_err(|problem| ParseError::Header {
                name: "content-type",
                problem,
            })?
            .unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") || is_json_suffixed(essence) {
            Ok(Media::Json)
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Ok(Media::Form)
        } else {
            Err(unsupported("content type", given))
        }
    }
}

impl Delivery<Raw> {
    /// A request as it came in, and when it did: some signatures are good for a while only.
    #[must_use]
    pub fn new(headers: HeaderMap, body: Bytes, received_at: DateTime<Utc>) -> Self {
        Self {
            headers,
            body,
            received_at,
            from: None,
            path_secret: None,
            state: PhantomData,
        }
    }

    /// The same with the address it came from, as far as our own proxies say.
    #[must_use]
    pub fn coming_from(self, from: Option<IpAddr>) -> Self {
        Self { from, ..self }
    }

    /// The same with what stood behind the trigger in the URL's path.
    #[must_use]
    pub fn at_path(self, path_secret: Option<SecretString>) -> Self {
        Self {
            path_secret,
            ..self
        }
    }

    pub(crate) fn from(&self) -> Option<IpAddr> {
        self.from
    }

    pub(crate) fn path_secret(&self) -> Option<&SecretString> {
        self.path_secret.as_ref()
    }

    /// The body, for who hands it on as it is.
    pub(crate) fn body_bytes_as_sent(&self) -> Bytes {
        self.body.clone()
    }

    /// What a signature is checked over; nobody may read a meaning into it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Checks the vendor's signature; the only way to a delivery that can be read.
    ///
    /// # Errors
    /// When the signature does not hold. The delivery is gone then: nothing of it is to be kept.
    pub fn verify<V: Vendor>(
        self,
        secrets: &Secrets,
    ) -> Result<(Delivery<Verified>, Which), BadSignature> {
        self.verified_by(|raw| V::verify(raw, secrets))
    }

    /// The same request once more.
    pub(crate) fn copy(&self) -> Self {
        Self {
            headers: self.headers.clone(),
            body: self.body.clone(),
            received_at: self.received_at,
            from: self.from,
            path_secret: self.path_secret.clone(),
            state: PhantomData,
        }
    }

    /// A delivery that was verified when it first came, by who can tell that it is that one.
    pub(crate) fn known(self) -> Delivery<Verified> {
        Delivery {
            headers: self.headers,
            body: self.body,
            received_at: self.received_at,
            from: self.from,
            path_secret: None,
            state: PhantomData,
        }
    }

    /// The same for the URL that is for every vendor.
    pub(crate) fn verified_by(
        self,
        check: impl FnOnce(&Self) -> Result<Which, BadSignature>,
    ) -> Result<(Delivery<Verified>, Which), BadSignature> {
        let which = check(&self)?;
        Ok((self.known(), which))
    }

    /// Checks one signature header, for a vendor's `verify`.
    ///
    /// # Errors
    /// When the header is not exactly one signature, or neither secret made it.
    pub fn check(&self, scheme: &HmacSha256, secrets: &Secrets) -> Result<Which, BadSignature> {
        let given = match self.header(scheme.header) {
            Ok(Some(given)) if given.is_empty() || given == scheme.prefix => {
                return Err(BadSignature::Missing(scheme.header.into()));
            }
            Ok(Some(given)) => given,
            Ok(None) => return Err(BadSignature::Missing(scheme.header.into())),
            Err(HeaderProblem::Repeated) => {
                return Err(BadSignature::Repeated(scheme.header.into()));
            }
            Err(HeaderProblem::Missing | HeaderProblem::NotText) => {
                return Err(BadSignature::Malformed(scheme.header.into()));
            }
        };
        let given = hmac::digits(given, scheme.prefix)
            .ok_or_else(|| BadSignature::Malformed(scheme.header.into()))?;
        let signed = match (&scheme.signed, self.media()) {
            (Signed::Payload, Ok(Media::Form)) => {
                form::payload(&self.body).map_err(|_| BadSignature::NoPayload)?
            }
            // A body of another type is refused when it is read; until then its bytes are what was signed.
            (Signed::Body, _) | (Signed::Payload, Ok(Media::Json) | Err(_)) => {
                Cow::Borrowed(&*self.body)
            }
        };
        secrets
            .which(|secret| hmac::made(secret, &given, &signed))
            .ok_or_else(|| BadSignature::Mismatch(scheme.header.into()))
    }
}

impl Delivery<Verified> {
    /// The body as it was sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads what happened. Headers of a sender that has a URL of its own are refused.
    ///
    /// # Errors
    /// When the payload is not what its headers say.
    pub fn parse<V: Vendor>(&self) -> Result<Parsed, ParseError> {
        match self.sender() {
            Some(sender) if !V::claims(&self.headers) => Err(ParseError::OtherVendor {
                claimed: sender.vendor,
                here: V::NAME,
            }),
            Some(_) | None => V::parse(self),
        }
    }

    /// Who sent it, and the name of the event by their own header.
    ///
    /// # Errors
    /// When no sender's headers are there, or the one that names the event is missing or repeated.
    pub fn event(&self) -> Result<(&'static Sender, &str), ParseError> {
        let sender = self.sender().ok_or(ParseError::NoSender)?;
        let name = sender.event;
        match self.header(name) {
            Ok(Some(event)) => Ok((sender, event)),
            Ok(None) => Err(ParseError::Header {
                name,
                problem: HeaderProblem::Missing,
            }),
            Err(problem) => Err(ParseError::Header { name, problem }),
        }
    }

    /// What the sender's own headers call the delivery and what happened.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let Some(sender) = self.sender() else {
            return Labels::default();
        };
        let header = |name: &&str| self.header(name).ok().flatten();
        Labels {
            vendor: Some(sender.vendor),
            event: header(&sender.event).map(str::to_owned),
            key: sender.deliveries.iter().find_map(header).map(str::to_owned),
        }
    }

    /// Reads the payload: the body, or the form's `payload` field.
    ///
    /// # Errors
    /// When the content type is not supported, or the payload is not JSON of this shape within the limits.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        let payload = match self.media()? {
            Media::Json => Cow::Borrowed(&*self.body),
            Media::Form => form::payload(&self.body)
                .map_err(|problem| ParseError::malformed("payload", &problem.to_string()))?,
        };
        json::read(&payload)
    }

    /// What a payload means that is only checked for being one.
    ///
    /// # Errors
    /// As [`Delivery::json`].
    pub fn checked(&self, meaning: Parsed) -> Result<Parsed, ParseError> {
        self.json::<IgnoredAny>().map(|_| meaning)
    }

    /// What an event means that nothing here acts on.
    ///
    /// # Errors
    /// As [`Delivery::json`].
    pub fn unhandled(&self, event: &str) -> Result<Parsed, ParseError> {
        let event: String = event.chars().take(EVENT_NAME_CHARS_MAX).collect();
        self.checked(Parsed::Ignored {
            reason: format!("unhandled event {event:?}"),
        })
    }
}

fn unsupported(what: &str, given: &str) -> ParseError {
    ParseError::UnsupportedMedia {
        given: format!("{what} {:?}", printable(given)),
    }
}

/// Whether a media type is JSON by its suffix, RFC 6839, as those of registries and of CloudEvents are.
fn is_json_suffixed(essence: &str) -> bool {
    let suffix = essence.len().checked_sub("+json".len());
    let suffix = suffix.and_then(|at| essence.get(at..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

enum Media {
    Json,
    Form,
}

/// The one value of a header.
pub(crate) fn one<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a str>, HeaderProblem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(|text| Some(text.trim()))
            .map_err(|_| HeaderProblem::NotText),
        (Some(_), Some(_)) => Err(HeaderProblem::Repeated),
    }
}
