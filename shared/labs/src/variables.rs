//! Environment variables in a topology, which containerlab replaces wherever they stand before it reads the YAML.
//!
//! Nobody's environment belongs to a lab, so that none is set: `${KIND:=linux}` is `linux`. That has to happen before anything is
//! checked, for what runs the lab would put the other word in afterwards. What has no default stays as it is, as containerlab
//! leaves it. <https://containerlab.dev/manual/topo-def-file/#environment-variables>

use std::borrow::Cow;

use crate::problem::Problems;
use crate::yaml::{Position, TOPOLOGY_BYTES_MAX};

/// How deep defaults may be variables with defaults.
const DEPTH_MAX: usize = 8;

/// The text with defaults in place of variables.
///
/// # Errors
/// When a variable stands there in a form that cannot be read on one line.
pub(crate) fn with_defaults(text: &str) -> Result<Cow<'_, str>, Problems> {
    let mut read = Cow::Borrowed(text);
    if text.len() > TOPOLOGY_BYTES_MAX {
        // It is refused by its size afterwards.
        return Ok(read);
    }
    for _ in 0..DEPTH_MAX {
        if !read.contains("${") {
            return Ok(read);
        }
        match expand(&read, DEPTH_MAX) {
            Ok(again) if again == *read => return Ok(read),
            // A default can end with what begins another variable.
            Ok(other) => read = Cow::Owned(other),
            Err(rest) => return Err(odd(&read, rest)),
        }
    }
    Err(odd(&read, 0))
}

/// `rest` is as in [`expand`].
fn odd(text: &str, rest: usize) -> Problems {
    let before = &text[..text.len() - rest];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default();
    let at = Position {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column.chars().count() + 1).unwrap_or(u32::MAX),
    };
    let mut problems = Problems::default();
    problems.push(
        at,
        "a variable is `${NAME}` or `${NAME:=its default}`, on one line; for a dollar sign write `$$`",
    );
    problems
}

/// The error is how many bytes there are from the variable that is none to the end of the text.
fn expand(text: &str, depth: usize) -> Result<String, usize> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, here) = rest.split_at(at);
        expanded.push_str(before);
        let length = if here.starts_with("$$") {
            // A dollar sign. Whoever replaces variables once more needs both.
            expanded.push_str("$$");
            2
        } else if let Some(variable) = Variable::at_start_of(here).map_err(|()| here.len())? {
            match variable.default {
                None => expanded.push_str(&here[..variable.length]),
                Some(default) if depth > 0 => {
                    expanded.push_str(&expand(default, depth - 1).map_err(|_| here.len())?);
                }
                Some(_) => return Err(here.len()),
            }
            variable.length
        } else {
            expanded.push('$');
            1
        };
        rest = &here[length..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A variable in braces.
struct Variable<'a> {
    /// What stands there when it is not set; nothing when it says nothing.
    default: Option<&'a str>,
    /// How long it is with its braces, in bytes.
    length: usize,
}

impl<'a> Variable<'a> {
    /// Nothing when it is a dollar sign like any other.
    fn at_start_of(text: &'a str) -> Result<Option<Self>, ()> {
        let Some(inner) = text.strip_prefix("${") else {
            return Ok(None);
        };
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Ok(None);
        }
        let end = close(inner).ok_or(())?;
        let length = "${".len() + end + "}".len();
        let inner = &inner[..end];
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let operator = inner.trim_start_matches(of_a_name);
        let default = if operator.is_empty() {
            None
        } else if let Some(default) = [":-", ":=", "-", "="]
            .iter()
            .find_map(|known| operator.strip_prefix(known))
        {
            Some(default)
        } else if operator.starts_with(":+") || operator.starts_with('+') {
            // That is for one which is set.
            Some("")
        } else {
            return Err(());
        };
        Ok(Some(Self { default, length }))
    }
}

/// Where the brace stands that closes, on the same line.
fn close(inner: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut before = ' ';
    for (at, c) in inner.char_indices() {
        match c {
            '\n' | '\r' => return None,
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_default_takes_the_place_of_its_variable() {
        for (written, read) in [
            ("image: alpine:${VERSION:=3}", "image: alpine:3"),
            ("${A:-x} ${A-y} ${A=z}", "x y z"),
            ("${A:+x}${A+y}", ""),
            ("${A:=${B:=x}}/${C:=\"\"}", "x/\"\""),
            // As containerlab leaves what is not set, and what is no variable.
            (
                "${A} $A $6$salt$hash ${6} ${",
                "${A} $A $6$salt$hash ${6} ${",
            ),
            ("$${A:=x} $$$${A:=x} $$${A:=x}", "$${A:=x} $$$${A:=x} $$x"),
            ("${A:=$}{B:=x}", "x"),
        ] {
            assert_eq!(with_defaults(written).as_deref(), Ok(read), "{written}");
        }
    }

    #[test]
    fn what_another_reader_could_read_in_another_way_is_refused() {
        let deep = format!(
            "{}x{}",
            "${A:=".repeat(DEPTH_MAX + 2),
            "}".repeat(DEPTH_MAX + 2)
        );
        for odd in ["${A:=x", "${A:=x\n}", "${A%%x}", "${A/x/y}", &deep] {
            let text = format!("name: lab\nkind: {odd}\n");
            let error = with_defaults(&text).expect_err("it is odd").to_string();
            assert!(error.starts_with("line 2: a variable is"), "{odd}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_could_still_become_another_word(text in "[$a{}:=+\n -]{0,60}") {
            if let Ok(read) = with_defaults(&text) {
                // Twice is once: whoever replaces variables afterwards finds none with a default.
                let again = with_defaults(&read);
                prop_assert_eq!(again.as_deref(), Ok(&*read), "{}", text);
            }
        }
    }
}
