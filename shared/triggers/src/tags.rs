//! Whether a tag fits a pattern.

use model::TagPattern;
use semver::{Version, VersionReq};

/// How much memory a compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// Whether a pattern can be one, without a tag.
///
/// # Errors
/// When it is no regular expression, one that would take too much memory, or no range of versions.
pub fn check(pattern: &TagPattern) -> Result<(), String> {
    match pattern {
        TagPattern::Glob(_) => Ok(()),
        TagPattern::Regex(text) => regex(text).map(drop),
        TagPattern::Semver(text) => range(text).map(drop),
    }
}

/// Whether a tag fits. Regular expressions take linear time, whatever both are.
///
/// # Errors
/// As [`check`]: a pattern that was saved by something newer.
pub fn fits(pattern: &TagPattern, tag: &str) -> Result<bool, String> {
    Ok(match pattern {
        TagPattern::Glob(glob) => glob.matches(tag),
        TagPattern::Regex(text) => regex(text)?.is_match(tag),
        TagPattern::Semver(text) => {
            let range = range(text)?;
            version(tag).is_some_and(|version| range.matches(&version))
        }
    })
}

fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| format!("{text:?} is no regular expression: {error}"))
}

fn range(text: &str) -> Result<VersionReq, String> {
    VersionReq::parse(text)
        .map_err(|error| format!("{text:?} is no range of versions, such as >=1.2, <2: {error}"))
}

/// The version that a tag names: `v1.2.3` as `1.2.3`, and `1` and `1.2` as if the rest were zeros, as people tag images.
fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let missing = match numbers.matches('.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => "",
    };
    Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pattern(value: Value) -> TagPattern {
        serde_json::from_value(value).expect("the test's pattern is one")
    }

    #[test]
    fn a_tag_fits_by_glob_by_regex_or_by_version() {
        for (given, tag, expected) in [
            (json!("v*"), "v1", true),
            (json!("v*"), "1", false),
            (json!({"regex": "^v\\d+$"}), "v12", true),
            (json!({"regex": "^v\\d+$"}), "v1x", false),
            (json!({"regex": "rc"}), "v1-rc2", true),
            (json!({"semver": ">=1.2, <2"}), "1.2.0", true),
            (json!({"semver": ">=1.2, <2"}), "v1.9.9", true),
            (json!({"semver": ">=1.2, <2"}), "2.0.0", false),
            (json!({"semver": ">=1.2, <2"}), "1.3", true),
            (json!({"semver": "^1"}), "1", true),
            (json!({"semver": "^1"}), "latest", false),
            (json!({"semver": "^1"}), "1.2.3.4", false),
            (json!({"semver": "^1"}), "", false),
            // A pre-release only where the range names one of the same version.
            (json!({"semver": ">=1.2, <2"}), "1.3.0-rc.1", false),
            (json!({"semver": ">=1.3.0-rc.1, <2"}), "1.3.0-rc.2", true),
            (json!({"semver": ">=1.3.0-rc.1, <2"}), "1.4.0-rc.2", false),
            // What is said about the build does not count.
            (json!({"semver": "=1.2.3"}), "1.2.3+linux", true),
            (json!({"semver": "*"}), "v7.0.1", true),
        ] {
            assert_eq!(
                fits(&pattern(given.clone()), tag),
                Ok(expected),
                "{given} on {tag}"
            );
        }
    }

    #[test]
    fn a_pattern_that_is_none_says_so() {
        for (bad, part) in [
            (json!({"regex": "("}), "regular expression"),
            (json!({"regex": "(.{1000}){1000}"}), "regular expression"),
            (json!({"regex": "(?=a)"}), "regular expression"),
            (json!({"semver": "latest"}), "range of versions"),
        ] {
            let error = check(&pattern(bad.clone())).expect_err("it is no pattern");
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn a_regex_made_to_be_slow_is_not() {
        let begun = std::time::Instant::now();
        let tag = format!("{}b", "a".repeat(1_000_000));
        assert_eq!(fits(&pattern(json!({"regex": "(a+)+$"})), &tag), Ok(false));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn no_tag_is_too_odd_to_be_looked_at(tag in any::<String>(), pick in 0_usize..3) {
            let given = [json!("v*"), json!({"regex": "^v"}), json!({"semver": ">=1"})];
            prop_assert!(fits(&pattern(given[pick].clone()), &tag).is_ok());
        }

        #[test]
        fn a_glob_without_signs_fits_itself_alone(tag in "[a-z0-9/._-]{1,40}", other in "[a-z0-9/._-]{1,40}") {
            let own = pattern(json!(tag));
            prop_assert_eq!(fits(&own, &tag), Ok(true));
            prop_assert_eq!(fits(&own, &other), Ok(tag == other));
            prop_assert_eq!(fits(&pattern(json!(format!("{tag}**"))), &format!("{tag}{other}")), Ok(true));
            let one = fits(&pattern(json!(format!("{tag}*"))), &format!("{tag}{other}"));
            prop_assert_eq!(one, Ok(!other.contains('/')));
        }

        #[test]
        fn a_version_fits_itself_with_and_without_a_v(a in 0_u32..999, b in 0_u32..999, c in 0_u32..999) {
            let own = pattern(json!({"semver": format!("={a}.{b}.{c}")}));
            let (bare, prefixed) = (format!("{a}.{b}.{c}"), format!("v{a}.{b}.{c}"));
            prop_assert_eq!(fits(&own, &bare), Ok(true));
            prop_assert_eq!(fits(&own, &prefixed), Ok(true));
        }
    }
}
