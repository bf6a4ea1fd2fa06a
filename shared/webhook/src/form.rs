//! Form-encoded bodies, of which one field is read.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Why a form has no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("the form has no `payload` field")]
    Missing,
    #[error("the form has more than one `payload` field")]
    Repeated,
}

/// The `payload` field's bytes. They are not made into text here: a signature may be over them.
pub(crate) fn payload(body: &[u8]) -> Result<Cow<'_, [u8]>, FormError> {
    let mut found = body
        .split(|&byte| byte == b'&')
        .filter_map(|field| field.strip_prefix(b"payload="));
    let encoded = found.next().ok_or(FormError::Missing)?;
    if found.next().is_some() {
        return Err(FormError::Repeated);
    }
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    Ok(Cow::Owned(percent_decode(&spaced).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_field_is_decoded() {
        let body = b"a=1&payload=%7B%22m%22%3A+%22a%2Bb%22%7D";
        assert_eq!(payload(body).as_deref(), Ok(br#"{"m": "a+b"}"#.as_slice()));
    }

    #[test]
    fn a_form_with_no_payload_or_two_is_refused() {
        assert_eq!(payload(b"a=1"), Err(FormError::Missing));
        assert_eq!(payload(b""), Err(FormError::Missing));
        assert_eq!(payload(b"payload=1&payload=2"), Err(FormError::Repeated));
    }
}
