//! What a body may have been before something on its way wrote it anew.

use std::borrow::Cow;

use serde_json::Value;
use url::form_urlencoded;

/// A form of the body, and how it came to be the recorded one; nothing for the recorded one itself.
pub(super) struct Form<'a> {
    /// The bytes that may have been signed.
    pub(super) bytes: Cow<'a, [u8]>,
    /// What happened to them.
    pub(super) since: Option<&'static str>,
}

/// How JSON is written.
struct Style {
    /// How deep each level is set in; nothing for one line.
    indent: Option<&'static str>,
    comma: &'static str,
    colon: &'static str,
}

const COMPACT: Style = Style {
    indent: None,
    comma: ",",
    colon: ":",
};
const SPACED: Style = Style {
    indent: None,
    comma: ", ",
    colon: ": ",
};
const TWO: Style = Style {
    indent: Some("  "),
    comma: ",",
    colon: ": ",
};
const FOUR: Style = Style {
    indent: Some("    "),
    comma: ",",
    colon: ": ",
};
const TAB: Style = Style {
    indent: Some("\t"),
    comma: ",",
    colon: ": ",
};

/// All forms that are tried, the recorded one first.
pub(super) fn forms(body: &[u8]) -> Vec<Form<'_>> {
    let mut forms = vec![Form {
        bytes: Cow::Borrowed(body),
        since: None,
    }];
    let mut add = |bytes: Vec<u8>, since: &'static str| {
        let known = |form: &Form<'_>| *form.bytes == bytes;
        if !forms.iter().any(known) {
            forms.push(Form {
                bytes: Cow::Owned(bytes),
                since: Some(since),
            });
        }
    };
    for ending in [&b"\r\n"[..], b"\n"] {
        if let Some(shorter) = body.strip_suffix(ending) {
            add(
                shorter.to_vec(),
                "a line break was added at its end (an editor or `echo` does so)",
            );
        }
    }
    add(
        [body, b"\n"].concat(),
        "the line break at its end was cut off",
    );
    add(
        [body, b"\r\n"].concat(),
        "the line break at its end was cut off",
    );
    if let Some(bare) = body.strip_prefix(b"\xef\xbb\xbf") {
        add(bare.to_vec(), "a byte order mark was put before it");
    }
    add(
        body.trim_ascii().to_vec(),
        "white space was added around it",
    );
    add(to_lf(body), "its line breaks were changed from LF to CRLF");
    add(
        to_crlf(body),
        "its line breaks were changed from CRLF to LF",
    );
    add_json(body, &mut add);
    let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    if let Some((_, payload)) = payload {
        add(
            payload.into_owned().into_bytes(),
            "it was put into a form after it was signed, or should be read as one",
        );
    }
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &String::from_utf8_lossy(body))
        .finish();
    add(
        form.into_bytes(),
        "it was taken out of a form, which is what was signed",
    );
    forms
}

fn add_json(body: &[u8], add: &mut impl FnMut(Vec<u8>, &'static str)) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    const WRITTEN: &str =
        "its JSON was written anew with other white space (parsed and printed on the way)";
    const SORTED: &str = "its JSON was written anew with its keys in another order";
    const ESCAPED: &str = "its JSON was written anew with other escapes";
    for style in [&COMPACT, &SPACED, &TWO, &FOUR, &TAB] {
        let written = written(body, style);
        add([&written[..], b"\n"].concat(), WRITTEN);
        add(written, WRITTEN);
    }
    for text in [
        serde_json::to_vec(&value),
        serde_json::to_vec_pretty(&value),
    ] {
        add(text.unwrap_or_default(), SORTED);
    }
    let compact = String::from_utf8_lossy(&written(body, &COMPACT)).into_owned();
    let recorded = String::from_utf8_lossy(body).into_owned();
    for text in [recorded, compact] {
        add(ascii(&text).into_bytes(), ESCAPED);
        add(text.replace('/', "\\/").into_bytes(), ESCAPED);
        add(text.replace("\\/", "/").into_bytes(), ESCAPED);
        let html = text
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026");
        add(html.into_bytes(), ESCAPED);
        let plain = text
            .replace("\\u003c", "<")
            .replace("\\u003e", ">")
            .replace("\\u0026", "&");
        add(plain.into_bytes(), ESCAPED);
    }
}

fn to_lf(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for (at, &byte) in body.iter().enumerate() {
        if byte != b'\r' || body.get(at + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out
}

fn to_crlf(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for byte in to_lf(body) {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// What is not ASCII as escapes, as some languages print JSON.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// JSON with other white space and nothing else changed: numbers, escapes and the order of keys stay.
fn written(json: &[u8], style: &Style) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        if let Some(indent) = style.indent {
            out.push(b'\n');
            out.extend(indent.repeat(depth).bytes());
        }
    };
    for &byte in json {
        if in_string {
            out.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        let opened = matches!(out.last(), Some(b'{' | b'['));
        match byte {
            _ if byte.is_ascii_whitespace() => {}
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                // Nothing stands in an empty one.
                if !just_opened(&out) {
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.extend(style.comma.bytes());
                line(&mut out, depth);
            }
            b':' => out.extend(style.colon.bytes()),
            _ => {
                if opened {
                    line(&mut out, depth);
                }
                out.push(byte);
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    _ => {}
                }
            }
        }
    }
    out
}

fn just_opened(out: &[u8]) -> bool {
    matches!(out.last(), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_with_other_white_space_and_nothing_else() {
        let json = br#"{"b":[1.0,{"a":"x, \"y\": {"},[],{}],"a":null}"#;
        let text = |style| String::from_utf8(written(json, style)).expect("text");
        assert_eq!(text(&COMPACT), String::from_utf8_lossy(json));
        insta::assert_snapshot!(text(&TWO), @r#"
        {
          "b": [
            1.0,
            {
              "a": "x, \"y\": {"
            },
            [],
            {}
          ],
          "a": null
        }
        "#);
        assert_eq!(written(text(&TAB).as_bytes(), &COMPACT), json);
        assert_eq!(
            text(&SPACED),
            r#"{"b": [1.0, {"a": "x, \"y\": {"}, [], {}], "a": null}"#
        );
    }

    #[test]
    fn line_breaks_go_both_ways() {
        assert_eq!(to_crlf(b"a\nb\r\nc\r"), b"a\r\nb\r\nc\r");
        assert_eq!(to_lf(b"a\r\nb\nc\r"), b"a\nb\nc\r");
    }

    #[test]
    fn no_form_is_tried_twice() {
        let forms = forms(b"{}");
        for (at, form) in forms.iter().enumerate() {
            let same = forms[at + 1..]
                .iter()
                .any(|other| other.bytes == form.bytes);
            assert!(!same, "{:?}", form.since);
        }
        assert_eq!(forms[0].since, None);
    }
}
