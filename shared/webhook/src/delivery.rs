//! A delivery before and after its signature was checked.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::printable;
use crate::scheme::hmac;
use crate::{
    BadSignature, HeaderProblem, HmacSha256, ParseError, Parsed, Secrets, Sender, Signed, Vendor,
    Which, form, json, sender,
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

    fn media(&self) -> Result<Media, ParseError> {
        let unsupported = |what: &str, given: &str| ParseError::UnsupportedMedia {
            given: format!("{what} {:?}", printable(given)),
        };
        match self.header(CONTENT_ENCODING.as_str()) {
            Ok(None | Some("identity")) => {}
            Ok(Some(given)) => return Err(unsupported("content encoding", given)),
            Err(problem) => {
                return Err(ParseError::Header {
                    name: "content-encoding",
                    problem,
                });
            }
        }
        let given = self
            .header(CONTENT_TYPE.as_str())
            .map_err(|problem| ParseError::Header {
                name: "content-type",
                problem,
            })?
            .unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
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
            state: PhantomData,
        }
    }

    /// Checks the vendor's signature; the only way to a delivery that can be read.
    ///
    /// # Errors
    /// When the signature does not hold. The delivery is gone then: nothing of it is to be kept.
    pub fn verify<V: Vendor>(
        self,
        secrets: &Secrets,
    ) -> Result<(Delivery<Verified>, Which), BadSignature> {
        let which = V::verify(&self, secrets)?;
        let verified = Delivery {
            headers: self.headers,
            body: self.body,
            received_at: self.received_at,
            state: PhantomData,
        };
        Ok((verified, which))
    }

    /// Checks one signature header, for a vendor's `verify`.
    ///
    /// # Errors
    /// When the header is not exactly one signature, or neither secret made it.
    pub fn check(&self, scheme: &HmacSha256, secrets: &Secrets) -> Result<Which, BadSignature> {
        let given = match self.header(scheme.header) {
            Ok(Some(given)) if given.is_empty() || given == scheme.prefix => {
                return Err(BadSignature::Missing(scheme.header));
            }
            Ok(Some(given)) => given,
            Ok(None) => return Err(BadSignature::Missing(scheme.header)),
            Err(HeaderProblem::Repeated) => return Err(BadSignature::Repeated(scheme.header)),
            Err(HeaderProblem::Missing | HeaderProblem::NotText) => {
                return Err(BadSignature::Malformed(scheme.header));
            }
        };
        let given =
            hmac::digits(given, scheme.prefix).ok_or(BadSignature::Malformed(scheme.header))?;
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
            .ok_or(BadSignature::Mismatch(scheme.header))
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
