//! The words of the portal: which language a reader gets, and a message with its arguments in that language.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use maud::{Markup, PreEscaped, html};

/// A language that the portal speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// English, also the answer to a reader who speaks neither.
    English,
    /// Russian.
    Russian,
}

/// The key of a message. A type of its own, so that a test finds every key that is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key(pub &'static str);

const ENGLISH: &str = include_str!("../locales/en/portal.ftl");
const RUSSIAN: &str = include_str!("../locales/ru/portal.ftl");
/// What payloads' fields are called; in English that is in their schemas.
const RUSSIAN_PAYLOADS: &str = include_str!("../locales/ru/payloads.ftl");

static ENGLISH_BUNDLE: LazyLock<FluentBundle<FluentResource>> =
    LazyLock::new(|| bundle(Language::English, ENGLISH));
static RUSSIAN_BUNDLE: LazyLock<FluentBundle<FluentResource>> =
    LazyLock::new(|| bundle(Language::Russian, RUSSIAN));

static RUSSIAN_PAYLOADS_BUNDLE: LazyLock<FluentBundle<FluentResource>> =
    LazyLock::new(|| bundle(Language::Russian, RUSSIAN_PAYLOADS));

fn bundle(language: Language, source: &str) -> FluentBundle<FluentResource> {
    let resource = FluentResource::try_new(source.to_owned())
        .expect("the message files are compiled in and parsed by a test");
    let code = language
        .code()
        .parse()
        .expect("the codes are valid language identifiers");
    let mut bundle = FluentBundle::new_concurrent(vec![code]);
    // Isolation marks would end up in copied commands and in attribute values.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(match language {
        Language::English => |value, _| format_number(value, Language::English),
        Language::Russian => |value, _| format_number(value, Language::Russian),
    }));
    bundle
        .add_resource(resource)
        .expect("a test holds that no key is defined twice");
    bundle
}

fn format_number(value: &FluentValue<'_>, language: Language) -> Option<String> {
    match value {
        FluentValue::Number(number) => Some(language.number(number.value)),
        FluentValue::String(_)
        | FluentValue::Custom(_)
        | FluentValue::None
        | FluentValue::Error => None,
    }
}

/// Stands for a piece of markup while a message is formatted; a private-use character, stripped from arguments.
const SLOT: char = '\u{F8FF}';

impl Language {
    /// Every language, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::English, Self::Russian];

    /// The language tag, as in `lang=""`, in `?lang=` and in the cookie.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Russian => "ru",
        }
    }

    /// What the language calls itself.
    #[must_use]
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Russian => "Русский",
        }
    }

    /// The language with this tag, if we speak it. Regions are ignored: `ru-BY` is Russian.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next()?;
        Self::ALL
            .into_iter()
            .find(|language| primary.eq_ignore_ascii_case(language.code()))
    }

    /// What the reader asked for: in the URL, else by an earlier choice, else by the browser's settings, else English.
    #[must_use]
    pub fn choose(query: Option<&str>, cookie: Option<&str>, accept: Option<&str>) -> Self {
        query
            .and_then(Self::from_tag)
            .or_else(|| cookie.and_then(Self::from_tag))
            .or_else(|| accept.and_then(Self::from_accept_language))
            .unwrap_or(Self::English)
    }

    fn from_accept_language(header: &str) -> Option<Self> {
        /// More entries than any browser sends.
        const ENTRIES_MAX: usize = 32;
        let mut best = None;
        for entry in header.split(',').take(ENTRIES_MAX) {
            let mut parts = entry.split(';');
            let Some(language) = parts.next().and_then(Self::from_tag) else {
                continue;
            };
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
            // Strictly greater, so that of equals the first one wins.
            if weight > 0.0 && best.is_none_or(|(_, highest)| weight > highest) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }

    fn messages(self) -> &'static FluentBundle<FluentResource> {
        match self {
            Self::English => &ENGLISH_BUNDLE,
            Self::Russian => &RUSSIAN_BUNDLE,
        }
    }

    /// The message of `key`.
    #[must_use]
    pub fn t(self, key: &'static str) -> String {
        self.key(Key(key))
    }

    /// The message of a key that was chosen elsewhere.
    #[must_use]
    pub fn key(self, key: Key) -> String {
        self.format(key, None)
    }

    /// The message of `key` with its arguments filled in.
    #[must_use]
    pub fn with(self, key: &'static str, arguments: &[(&'static str, FluentValue<'_>)]) -> String {
        self.format(
            Key(key),
            Some(&FluentArgs::from_iter(arguments.iter().cloned())),
        )
    }

    /// The message of `key` with markup (a link, a time) in the places of its arguments. The message itself is escaped.
    #[must_use]
    pub fn rich(self, key: &'static str, slots: &[(&'static str, Markup)]) -> Markup {
        let arguments =
            FluentArgs::from_iter(slots.iter().enumerate().map(|(index, (name, _))| {
                (*name, FluentValue::from(format!("{SLOT}{index}{SLOT}")))
            }));
        let message = self.format(Key(key), Some(&arguments));
        let slot = |piece: &str| {
            piece
                .parse::<usize>()
                .ok()
                .and_then(|index| slots.get(index))
        };
        html! {
            @for (position, piece) in message.split(SLOT).enumerate() {
                // Odd pieces stand between two marks, so they are numbers of slots.
                @if position % 2 == 1 {
                    @if let Some((_, markup)) = slot(piece) { (PreEscaped(&markup.0)) }
                } @else {
                    (piece)
                }
            }
        }
    }

    fn format(self, key: Key, arguments: Option<&FluentArgs<'_>>) -> String {
        let messages = self.messages();
        let Some(pattern) = messages
            .get_message(key.0)
            .and_then(|message| message.value())
        else {
            // Held by a test over the source; shown rather than hidden if it ever happens.
            return key.0.to_owned();
        };
        let mut errors = Vec::new();
        let text = messages.format_pattern(pattern, arguments, &mut errors);
        debug_assert!(errors.is_empty(), "{}: {errors:?}", key.0);
        text.into_owned()
    }

    /// What a payload's field is called in this language, or with `-hint` behind its path, what there is to say of it: the
    /// task's own words before those of all. Nothing where the schema's own words are to be shown.
    #[must_use]
    pub fn payload(self, task: &str, path: &str) -> Option<String> {
        let messages = match self {
            Self::English => return None,
            Self::Russian => &*RUSSIAN_PAYLOADS_BUNDLE,
        };
        let path = path.replace('.', "-");
        let own = format!("{task}-{path}");
        let message = [own.as_str(), &path]
            .into_iter()
            .find_map(|key| messages.get_message(key))?;
        // These messages take no arguments: nothing can go wrong.
        let text = messages.format_pattern(message.value()?, None, &mut Vec::new());
        Some(text.into_owned())
    }

    /// What a kind of run is called, if this language has its own word for it.
    #[must_use]
    pub fn run_kind(self, task: &str, title: &str) -> String {
        self.payload("", task).unwrap_or_else(|| title.to_owned())
    }

    /// A number as the language writes it: `12,345.6` or `12 345,6`.
    #[must_use]
    pub fn number(self, value: f64) -> String {
        let plain = format!("{value}");
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
        let (group, point, grouped_from) = match self {
            Self::English => (',', '.', 4),
            // Russian leaves four digits together, and never breaks a number at the end of a line.
            Self::Russian => ('\u{a0}', ',', 5),
        };
        let digits = whole.trim_start_matches('-').len();
        let mut text = String::with_capacity(plain.len() + 4);
        let mut left = digits;
        for character in whole.chars() {
            text.push(character);
            if character.is_ascii_digit() {
                left -= 1;
                if left > 0 && left.is_multiple_of(3) && digits >= grouped_from {
                    text.push(group);
                }
            }
        }
        if !fraction.is_empty() {
            text.push(point);
            text.push_str(fraction);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fluent_syntax::ast;
    use maud::html;

    use super::{ENGLISH, Language, RUSSIAN, RUSSIAN_PAYLOADS};

    fn resource(source: &str) -> ast::Resource<&str> {
        fluent_syntax::parser::parse(source).unwrap_or_else(|(_, errors)| panic!("{errors:?}"))
    }

    fn keys(source: &str) -> Vec<&str> {
        resource(source)
            .body
            .iter()
            .filter_map(|entry| match entry {
                ast::Entry::Message(message) => Some(message.id.name),
                _ => None,
            })
            .collect()
    }

    /// The variants of every plural choice, by message.
    fn plurals(source: &str) -> Vec<(String, BTreeSet<String>)> {
        let resource = resource(source);
        let mut found = Vec::new();
        for entry in &resource.body {
            let ast::Entry::Message(message) = entry else {
                continue;
            };
            let Some(pattern) = &message.value else {
                continue;
            };
            for element in &pattern.elements {
                let ast::PatternElement::Placeable {
                    expression: ast::Expression::Select { variants, .. },
                } = element
                else {
                    continue;
                };
                let names = variants
                    .iter()
                    .filter_map(|variant| match &variant.key {
                        ast::VariantKey::Identifier { name } => Some((*name).to_owned()),
                        ast::VariantKey::NumberLiteral { .. } => None,
                    })
                    .collect();
                found.push((message.id.name.to_owned(), names));
            }
        }
        found
    }

    /// The arguments that a message of this source names.
    fn arguments(source: &str, key: &str) -> BTreeSet<String> {
        let text = source
            .split_once(&format!("\n{key} ="))
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        let end = text
            .match_indices('\n')
            .find(|(at, _)| !text[at + 1..].starts_with([' ', '}']))
            .map_or(text.len(), |(at, _)| at);
        text[..end]
            .split('$')
            .skip(1)
            .map(|rest| {
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect()
            })
            .collect()
    }

    #[test]
    fn both_languages_have_the_same_keys_once_with_the_same_arguments() {
        let english = keys(ENGLISH);
        let russian = keys(RUSSIAN);
        let set = |keys: &[&str]| {
            keys.iter()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(set(&english), set(&russian));
        assert_eq!(english.len(), set(&english).len(), "a key stands twice");
        assert_eq!(russian.len(), set(&russian).len(), "a key stands twice");
        for key in english {
            assert_eq!(arguments(ENGLISH, key), arguments(RUSSIAN, key), "{key}");
        }
    }

    #[test]
    fn every_field_of_a_payload_has_russian_words_and_no_word_is_left_over() {
        let mut used = BTreeSet::new();
        let mut find = |task: &str, path: &str| {
            let path = path.replace('.', "-");
            used.extend([format!("{task}-{path}"), path.clone()]);
            Language::Russian.payload(task, &path)
        };
        for kind in runs::kinds() {
            find("", kind.name);
            for field in crate::payload_form::fields(&(kind.schema)()) {
                let title = find(kind.name, &field.path);
                assert!(title.is_some(), "{}: {}", kind.name, field.path);
                find(kind.name, &format!("{}-hint", field.path));
                assert_eq!(Language::English.payload(kind.name, &field.path), None);
            }
        }
        let left: Vec<_> = keys(RUSSIAN_PAYLOADS)
            .into_iter()
            .filter(|key| !used.contains(*key))
            .collect();
        assert_eq!(left, Vec::<&str>::new());
    }

    #[test]
    fn every_choice_by_number_covers_the_plural_forms_of_its_language() {
        let forms = |names: &[&str]| {
            names
                .iter()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        };
        for (key, variants) in plurals(RUSSIAN) {
            assert_eq!(
                variants,
                forms(&["one", "few", "many", "other"]),
                "ru: {key}"
            );
        }
        for (key, variants) in plurals(ENGLISH) {
            assert_eq!(variants, forms(&["one", "other"]), "en: {key}");
        }
        let with_plurals = |source| {
            plurals(source)
                .into_iter()
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(with_plurals(ENGLISH), with_plurals(RUSSIAN));
    }

    #[test]
    fn russian_counts_as_a_person_would() {
        let lines = |count: u64| Language::Russian.with("log-lines", &[("count", count.into())]);
        assert_eq!(lines(1), "1 строка");
        assert_eq!(lines(3), "3 строки");
        assert_eq!(lines(11), "11 строк");
        assert_eq!(lines(21), "21 строка");
        assert_eq!(lines(12_345), "12\u{a0}345 строк");
    }

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        assert_eq!(Language::English.number(1234567.5), "1,234,567.5");
        assert_eq!(Language::English.number(-1234.0), "-1,234");
        assert_eq!(Language::Russian.number(1234.5), "1234,5");
        assert_eq!(Language::Russian.number(1234567.0), "1\u{a0}234\u{a0}567");
    }

    #[test]
    fn the_url_beats_the_cookie_which_beats_the_browser() {
        let choose = Language::choose;
        assert_eq!(
            choose(Some("ru"), Some("en"), Some("en")),
            Language::Russian
        );
        assert_eq!(choose(Some("de"), Some("ru"), None), Language::Russian);
        assert_eq!(
            choose(None, None, Some("de, en;q=0.4, ru-RU;q=0.7")),
            Language::Russian
        );
        assert_eq!(choose(None, None, Some("ru;q=0, en")), Language::English);
        assert_eq!(choose(None, None, Some("ru;q=x")), Language::English);
        assert_eq!(choose(None, None, None), Language::English);
    }

    #[test]
    fn markup_in_a_message_is_kept_and_the_rest_is_escaped() {
        let markup = Language::English.rich(
            "why-queue-busy",
            &[
                ("queue", html! { code { "<q>" } }),
                ("job", html! { a href="/jobs/41" { "41" } }),
            ],
        );
        assert_eq!(
            markup.0,
            "Queue <code>&lt;q&gt;</code> is busy with <a href=\"/jobs/41\">41</a>; one job of it runs at a time."
        );
    }
}
