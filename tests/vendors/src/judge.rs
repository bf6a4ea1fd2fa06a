//! What a vendor's function makes of a request, without HTTP and without a database.

use bytes::Bytes;
use http::HeaderMap;
use model::Scheme;
use webhook::conformance::RECEIVED_AT;
use webhook::{Delivery, Parsed, Secrets, Vendor};

/// One vendor's function.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    /// The function's name.
    pub function: &'static str,
    /// Whether these are the headers of one of its senders.
    pub claims: fn(&HeaderMap) -> bool,
    judge: fn(HeaderMap, Bytes, &Secrets) -> Verdict,
}

/// What is answered, as far as the vendor decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 401.
    Refused,
    /// 400 or 415.
    Malformed(String),
    /// 202.
    Read(Parsed),
}

impl Judge {
    /// A vendor's.
    #[must_use]
    pub const fn of<V: Vendor>(function: &'static str) -> Self {
        Self {
            function,
            claims: V::claims,
            judge: judged::<V>,
        }
    }

    /// The verdict over a request to a trigger with one secret.
    #[must_use]
    pub fn verdict(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secret: &str,
        scheme: Option<Scheme>,
    ) -> Verdict {
        let secrets = Secrets::new(secret.into(), None).with_scheme(scheme);
        (self.judge)(headers.clone(), Bytes::copy_from_slice(body), &secrets)
    }
}

fn judged<V: Vendor>(headers: HeaderMap, body: Bytes, secrets: &Secrets) -> Verdict {
    let delivery = Delivery::new(headers, body, RECEIVED_AT);
    let Ok((verified, _)) = delivery.verify::<V>(secrets) else {
        return Verdict::Refused;
    };
    match verified.parse::<V>() {
        Ok(parsed) => Verdict::Read(parsed),
        Err(error) => Verdict::Malformed(error.to_string()),
    }
}
