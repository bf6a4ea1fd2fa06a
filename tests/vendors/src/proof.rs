//! How senders prove who they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use webhook::conformance::RECEIVED_AT;

/// The trigger's secret. It is base64 behind a prefix, which is what GitLab asks of a signing token, and a text like any other
/// for everybody else.
pub const SECRET: &str = "whsec_c3dpdGNoeWFyZCB0cmlnZ2VyIHNlY3JldCAwMQ==";

/// That of another trigger.
pub const OTHER_SECRET: &str = "whsec_c3dpdGNoeWFyZCB0cmlnZ2VyIHNlY3JldCAwMg==";

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The body's HMAC-SHA256 in hexadecimal, behind a prefix, in each of these headers.
    Hmac(&'static [(&'static str, &'static str)]),
    /// Standard Webhooks.
    Standard,
    /// The secret itself.
    Token(&'static str),
    /// HTTP Basic, with the secret as the password.
    Basic,
}

impl Proof {
    /// Whether it is over the body.
    #[must_use]
    pub fn signs_body(self) -> bool {
        match self {
            Self::Hmac(_) | Self::Standard => true,
            Self::Token(_) | Self::Basic => false,
        }
    }

    /// Whether it is made of hexadecimal digits.
    #[must_use]
    pub fn is_hexadecimal(self) -> bool {
        matches!(self, Self::Hmac(_))
    }

    /// The headers.
    #[must_use]
    pub fn headers(self, secret: &str, body: &[u8]) -> Vec<(String, String)> {
        match self {
            Self::Hmac(headers) => {
                let digits = hex::encode(hmac_sha256(secret.as_bytes(), body));
                headers
                    .iter()
                    .map(|(name, prefix)| ((*name).to_owned(), format!("{prefix}{digits}")))
                    .collect()
            }
            Self::Standard => {
                let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
                let at = RECEIVED_AT.timestamp();
                let key = STANDARD
                    .decode(secret.trim_start_matches("whsec_"))
                    .expect("the secret is base64");
                let mut signed = format!("{id}.{at}.").into_bytes();
                signed.extend_from_slice(body);
                let signature = STANDARD.encode(hmac_sha256(&key, &signed));
                vec![
                    ("webhook-id".to_owned(), id.to_owned()),
                    ("webhook-timestamp".to_owned(), at.to_string()),
                    ("webhook-signature".to_owned(), format!("v1,{signature}")),
                ]
            }
            Self::Token(name) => vec![(name.to_owned(), secret.to_owned())],
            Self::Basic => {
                let pair = STANDARD.encode(format!("hooks:{secret}"));
                vec![("authorization".to_owned(), format!("Basic {pair}"))]
            }
        }
    }
}

fn hmac_sha256(key: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}
