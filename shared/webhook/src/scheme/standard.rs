//! Standard Webhooks: a signature over the delivery's id, its time and its body.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use model::scheme::PublicKey;

use crate::{BadSignature, Delivery, Raw, Secrets, Which};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// How far a delivery's time may be from ours, in seconds, in either direction.
const TOLERANCE_SECS: i64 = 5 * 60;
/// How many bytes the list of signatures may have: a dozen of them.
const SIGNATURES_BYTES_MAX: usize = 1024;
/// How many digits a time in seconds has at most for as long as this runs.
const TIMESTAMP_DIGITS_MAX: usize = 12;
/// What the text of a secret begins with.
const SECRET_PREFIX: &str = "whsec_";

impl Delivery<Raw> {
    /// Checks a `v1` signature: HMAC-SHA256 keyed with the trigger's secret. A secret is base64, behind `whsec_` or not;
    /// one that is not is taken as it is.
    ///
    /// # Errors
    /// When one of the three headers is not there exactly once, the time is too far from now, or neither secret made any
    /// of the signatures.
    pub fn check_standard(&self, secrets: &Secrets) -> Result<Which, BadSignature> {
        let claim = self.claim("v1,")?;
        secrets
            .which(|secret| {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &key(secret));
                // All are looked at: which one held is nobody's business.
                claim.signatures.iter().fold(false, |held, given| {
                    hmac::verify(&key, &claim.signed, given).is_ok() | held
                })
            })
            .ok_or(BadSignature::Mismatch(SIGNATURE.into()))
    }

    /// Checks a `v1a` signature: Ed25519 by one of these keys.
    ///
    /// # Errors
    /// As [`Delivery::check_standard`].
    pub fn check_standard_public(&self, keys: &[PublicKey]) -> Result<Which, BadSignature> {
        let claim = self.claim("v1a,")?;
        let made = |key: &PublicKey| {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, key.as_bytes());
            let held = |given: &Vec<u8>| key.verify(&claim.signed, given).is_ok();
            claim.signatures.iter().any(held)
        };
        match keys.iter().position(made) {
            Some(0) => Ok(Which::Current),
            Some(_) => Ok(Which::Previous),
            None => Err(BadSignature::Mismatch(SIGNATURE.into())),
        }
    }

    /// What is said to be signed, and the signatures of one version. Those of other versions are for others.
    fn claim(&self, version: &str) -> Result<Claim, BadSignature> {
        let id = self.proof(ID)?;
        let timestamp = self.proof(TIMESTAMP)?;
        let signatures = self.proof(SIGNATURE)?;
        // A full stop in the id would let its end pass for the time, and the time for the body.
        if id.contains('.') {
            return Err(BadSignature::Malformed(ID.into()));
        }
        if !is_recent(timestamp, self.received_at()) {
            return Err(BadSignature::Stale(TIMESTAMP.into()));
        }
        if signatures.len() > SIGNATURES_BYTES_MAX {
            return Err(BadSignature::Malformed(SIGNATURE.into()));
        }
        let signatures: Vec<_> = signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix(version)?).ok())
            .collect();
        if signatures.is_empty() {
            return Err(BadSignature::Malformed(SIGNATURE.into()));
        }
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(self.bytes());
        Ok(Claim { signed, signatures })
    }
}

struct Claim {
    signed: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

fn key(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    match STANDARD.decode(encoded) {
        Ok(key) if !key.is_empty() => key,
        Ok(_) | Err(_) => secret.as_bytes().to_vec(),
    }
}

fn is_recent(timestamp: &str, now: DateTime<Utc>) -> bool {
    let written = (1..=TIMESTAMP_DIGITS_MAX).contains(&timestamp.len())
        && timestamp.bytes().all(|b| b.is_ascii_digit());
    let at = written.then(|| timestamp.parse::<i64>().ok()).flatten();
    at.is_some_and(|at| (now.timestamp() - at).abs() <= TOLERANCE_SECS)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// The known answer of the specification's own library.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const MESSAGE: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: i64 = 1_649_367_553;
    const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNED: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn delivery(headers: &[(&'static str, &str)], now: i64, body: &str) -> Delivery<Raw> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            map.append(HeaderName::from_static(name), value);
        }
        let now = DateTime::from_timestamp(now, 0).expect("a time");
        Delivery::new(map, Bytes::copy_from_slice(body.as_bytes()), now)
    }

    fn check(id: &str, timestamp: &str, signatures: &str, now: i64) -> Result<Which, BadSignature> {
        let headers = [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signatures)];
        delivery(&headers, now, BODY).check_standard(&Secrets::new(SECRET.into(), None))
    }

    fn at(timestamp: &str) -> Result<Which, BadSignature> {
        check(MESSAGE, timestamp, SIGNED, AT)
    }

    #[test]
    fn the_published_answer_is_accepted() {
        assert_eq!(at(&AT.to_string()), Ok(Which::Current));
        let bare = SECRET.strip_prefix("whsec_").expect("it has the prefix");
        let rotating = Secrets::new("whsec_AAAA".into(), Some(bare.into()));
        let stamp = AT.to_string();
        let headers = [
            (ID, MESSAGE),
            (TIMESTAMP, stamp.as_str()),
            (SIGNATURE, SIGNED),
        ];
        let held = delivery(&headers, AT, BODY).check_standard(&rotating);
        assert_eq!(held, Ok(Which::Previous));
    }

    #[test]
    fn one_good_signature_among_others_is_enough() {
        let list = format!("v1,AAAA v2,xyz v1a,AAAA {SIGNED} garbage");
        assert_eq!(
            check(MESSAGE, &AT.to_string(), &list, AT),
            Ok(Which::Current)
        );
    }

    #[test]
    fn another_id_time_body_or_secret_is_refused() {
        let mismatch = Err(BadSignature::Mismatch(SIGNATURE.into()));
        let stamp = AT.to_string();
        assert_eq!(check("msg_other", &stamp, SIGNED, AT), mismatch);
        assert_eq!(at(&(AT + 1).to_string()), mismatch);
        let headers = [
            (ID, MESSAGE),
            (TIMESTAMP, stamp.as_str()),
            (SIGNATURE, SIGNED),
        ];
        let secrets = Secrets::new(SECRET.into(), None);
        let flipped = BODY.replacen("test", "tesu", 1);
        assert_eq!(
            delivery(&headers, AT, &flipped).check_standard(&secrets),
            mismatch
        );
        for secrets in [Secrets::none(), Secrets::new("whsec_AAAA".into(), None)] {
            assert_eq!(
                delivery(&headers, AT, BODY).check_standard(&secrets),
                mismatch
            );
        }
    }

    #[test]
    fn a_time_too_far_from_now_or_none_at_all_is_refused() {
        for now in [AT - TOLERANCE_SECS, AT, AT + TOLERANCE_SECS] {
            assert_eq!(
                check(MESSAGE, &AT.to_string(), SIGNED, now),
                Ok(Which::Current)
            );
        }
        let stale = Err(BadSignature::Stale(TIMESTAMP.into()));
        for now in [AT - TOLERANCE_SECS - 1, AT + TOLERANCE_SECS + 1] {
            assert_eq!(check(MESSAGE, &AT.to_string(), SIGNED, now), stale);
        }
        for timestamp in [
            "NaN",
            "-1649367553",
            "+1649367553",
            "16493675530000000000",
            "1649367553.0",
            "0x1",
            "1e9",
        ] {
            assert_eq!(at(timestamp), stale, "{timestamp}");
        }
    }

    #[test]
    fn a_full_stop_in_the_id_is_refused() {
        // Signed as id `a`, time 1, body `2.{}`, and given as id `a.1`, time 2, body `{}`.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(SECRET));
        let tag = hmac::sign(&key, format!("a.{AT}.{AT}.{{}}").as_bytes());
        let signed = format!("v1,{}", STANDARD.encode(tag));
        let (id, stamp) = (format!("a.{AT}"), AT.to_string());
        let headers = [(ID, id.as_str()), (TIMESTAMP, &stamp), (SIGNATURE, &signed)];
        let refused =
            delivery(&headers, AT, "{}").check_standard(&Secrets::new(SECRET.into(), None));
        assert_eq!(refused, Err(BadSignature::Malformed(ID.into())));
    }

    #[test]
    fn what_is_missing_repeated_or_no_signature_is_named() {
        let stamp = AT.to_string();
        let whole = [
            (ID, MESSAGE),
            (TIMESTAMP, stamp.as_str()),
            (SIGNATURE, SIGNED),
        ];
        let secrets = Secrets::new(SECRET.into(), None);
        for at in 0..whole.len() {
            let mut some = whole.to_vec();
            let (name, _) = some.remove(at);
            let refused = delivery(&some, AT, BODY).check_standard(&secrets);
            assert_eq!(refused, Err(BadSignature::Missing(name.into())));
            let mut twice = whole.to_vec();
            twice.push(whole[at]);
            let refused = delivery(&twice, AT, BODY).check_standard(&secrets);
            assert_eq!(refused, Err(BadSignature::Repeated(name.into())));
        }
        let long = format!("{SIGNED} {}", "v1,AAAA ".repeat(1_250));
        for signatures in [
            "v1",
            "v1,",
            "v1,!",
            &SIGNED.replace("v1", "v2"),
            &SIGNED[3..],
            &long,
        ] {
            let refused = check(MESSAGE, &stamp, signatures, AT);
            assert!(
                matches!(
                    refused,
                    Err(BadSignature::Malformed(_) | BadSignature::Mismatch(_))
                ),
                "{signatures:.40}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_public_key_is_held_against_its_own_signatures_alone() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).expect("a seed");
        let public = |pair: &Ed25519KeyPair| -> PublicKey {
            let encoded = STANDARD.encode(pair.public_key());
            format!("whpk_{encoded}").parse().expect("a public key")
        };
        let stamp = AT.to_string();
        let signed = |pair: &Ed25519KeyPair| {
            let signature = pair.sign(format!("{MESSAGE}.{AT}.{BODY}").as_bytes());
            format!("v1a,{}", STANDARD.encode(signature))
        };
        let check = |signatures: &str, keys: &[PublicKey]| {
            let headers = [
                (ID, MESSAGE),
                (TIMESTAMP, stamp.as_str()),
                (SIGNATURE, signatures),
            ];
            delivery(&headers, AT, BODY).check_standard_public(keys)
        };
        let mine = signed(&pair);
        assert_eq!(check(&mine, &[public(&pair)]), Ok(Which::Current));
        let list = format!("{SIGNED} {} {mine}", signed(&other));
        assert_eq!(check(&list, &[public(&pair)]), Ok(Which::Current));
        let rotating = [public(&other), public(&pair)];
        assert_eq!(check(&mine, &rotating), Ok(Which::Previous));
        let mismatch = Err(BadSignature::Mismatch(SIGNATURE.into()));
        assert_eq!(check(&mine, &[public(&other)]), mismatch);
        assert_eq!(check(&mine, &[]), mismatch);
        let malformed = Err(BadSignature::Malformed(SIGNATURE.into()));
        assert_eq!(check(SIGNED, &[public(&pair)]), malformed);
    }

    proptest! {
        #[test]
        fn no_other_signatures_are_accepted(signatures in "(v1,)?[ -~]{0,200}") {
            prop_assume!(!signatures.contains(SIGNED));
            prop_assert!(check(MESSAGE, &AT.to_string(), &signatures, AT).is_err());
        }

        #[test]
        fn no_other_id_or_time_is_accepted(id in "[ -~]{0,60}", timestamp in "[ -~]{0,20}") {
            prop_assume!((id.trim(), timestamp.trim()) != (MESSAGE, "1649367553"));
            prop_assert!(check(&id, &timestamp, SIGNED, AT).is_err());
        }
    }
}
