//! Conditions in CEL, the Common Expression Language, within bounds.
//!
//! The language has no fuel of its own, so each turn of a loop (`all`, `exists`, `map`, …) is made to pay, and size and depth
//! are looked at before anything runs. The parser is the hand-written one, which counts its own depth: the generated one ends
//! the process on deep input.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cel::common::ast::{EntryExpr, Expr};
use cel::extractors::This;
use cel::objects::{Key, Map};
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use model::{Condition, ConditionLanguage};
use serde_json::Value as Json;

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// Brackets within brackets.
const BRACKETS_DEEP_MAX: usize = 16;
/// How deep the tree of an expression may be.
const TREE_DEEP_MAX: usize = 48;
/// How many parts an expression may have, what loops stand for included.
const PARTS_MAX: usize = 1_000;
/// Loops within loops.
const LOOPS_DEEP_MAX: usize = 2;
/// Additions: of texts and lists each makes a copy.
const ADDITIONS_MAX: usize = 16;
/// Turns of all loops together.
const TURNS_MAX: u64 = 10_000;
/// What a search with a regular expression costs, in turns, beside a turn for each KiB of the text.
const SEARCH_TURNS: u64 = 50;
/// How much memory a compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 64 * 1024;
/// How long all loops may take: what bounds turns that are slow each.
const TIME_MAX: Duration = Duration::from_millis(500);
/// How much of an error is told, in characters.
const ERROR_CHARS_MAX: usize = 300;
/// What pays for a turn. No expression can call it by this name.
const PAY: &str = "@turn";

/// The functions that the language has by itself.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It is longer than any that is needed.
    #[error("an expression may have {EXPRESSION_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// It is empty.
    #[error("an expression may not be empty")]
    Empty,
    /// Its brackets or its tree are too deep, or it has too many parts.
    #[error("the expression is too large: {0}")]
    TooLarge(String),
    /// It is no CEL.
    #[error("this is no CEL expression: {0}")]
    Syntax(String),
}

/// An expression that may be asked of events.
#[derive(Debug, Clone)]
pub struct Compiled {
    tree: IdedExpr,
}

/// An event as conditions see it; made once for all that look at it.
#[derive(Debug, Clone)]
pub struct Subject(Value);

impl Subject {
    /// Of the event's attributes and data.
    #[must_use]
    pub fn new(event: &Json) -> Self {
        Self(value(event))
    }
}

impl Compiled {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it is no expression, or one that is too large.
    pub fn new(condition: &Condition) -> Result<Self, ConditionError> {
        match condition.language {
            ConditionLanguage::Cel => Self::parse(&condition.expression),
        }
    }

    fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.trim().is_empty() {
            return Err(ConditionError::Empty);
        }
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ConditionError::TooLong(text.len()));
        }
        check_brackets(text)?;
        let mut tree = PrattParser::new()
            .max_recursion_depth(64)
            .max_expression_node_count(PARTS_MAX)
            .parse(text)
            .map_err(|error| ConditionError::Syntax(shown(&error.to_string())))?;
        let mut sizes = Sizes::default();
        sizes.take(&mut tree, 0, 0)?;
        Ok(Self { tree })
    }

    /// Whether it is true of an event.
    ///
    /// # Errors
    /// When it cannot be told: a value is not there, types do not fit, the answer is neither true nor false, or it took
    /// too much.
    pub fn holds(&self, event: &Subject) -> Result<bool, String> {
        let fuel = Arc::new(Fuel::new());
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        context.add_variable_from_value("event", event.0.clone());
        let paid = Arc::clone(&fuel);
        let pay = move |step: Value| paid.turn(1).map(|()| step);
        let searched = Arc::clone(&fuel);
        let search = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            searched.search(&text, &pattern)
        };
        // `matches` stands for itself only where the crate's own is left out, for that one has no limits.
        context
            .add_function(PAY, pay)
            .and_then(|()| context.add_function("matches", search))
            .map_err(|error| error.to_string())?;
        let answer = context.resolve(&self.tree);
        if fuel.is_used_up() {
            return Err(format!(
                "it took more than {TURNS_MAX} turns of loops, or {} ms",
                TIME_MAX.as_millis()
            ));
        }
        match answer {
            Ok(Value::Bool(truth)) => Ok(truth),
            Ok(other) => Err(format!(
                "the answer is neither true nor false: {}",
                shown(&format!("{other:?}"))
            )),
            Err(error) => Err(shown(&error.to_string())),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// What the loops of one expression have used.
#[derive(Debug)]
struct Fuel {
    used: AtomicU64,
    until: Instant,
}

impl Fuel {
    fn new() -> Self {
        Self {
            used: AtomicU64::new(0),
            until: Instant::now() + TIME_MAX,
        }
    }

    fn turn(&self, cost: u64) -> Result<(), ExecutionError> {
        self.used.fetch_add(cost, Ordering::Relaxed);
        if Instant::now() > self.until {
            self.used.store(u64::MAX / 2, Ordering::Relaxed);
        }
        if self.is_used_up() {
            return Err(ExecutionError::function_error(PAY, "too many turns"));
        }
        Ok(())
    }

    fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) > TURNS_MAX
    }

    fn search(&self, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
        self.turn(SEARCH_TURNS + text.len() as u64 / 1024)?;
        regex::RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map(|regex| regex.is_match(text))
            .map_err(|error| ExecutionError::function_error("matches", error))
    }
}

/// Counts brackets outside of texts: what would make a parser go deep is refused before it runs.
fn check_brackets(text: &str) -> Result<(), ConditionError> {
    let mut deep = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => deep += 1,
            (None, ')' | ']' | '}') => deep = deep.saturating_sub(1),
            (None, _) => {}
        }
        if deep > BRACKETS_DEEP_MAX {
            return Err(ConditionError::TooLarge(format!(
                "brackets may be {BRACKETS_DEEP_MAX} deep"
            )));
        }
    }
    Ok(())
}

/// What of an expression is counted while its loops are made to pay.
#[derive(Debug, Default)]
struct Sizes {
    parts: usize,
    additions: usize,
}

impl Sizes {
    fn take(
        &mut self,
        part: &mut IdedExpr,
        deep: usize,
        loops: usize,
    ) -> Result<(), ConditionError> {
        let large = |why: String| Err(ConditionError::TooLarge(why));
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return large(format!("it may have {PARTS_MAX} parts"));
        }
        if deep > TREE_DEEP_MAX {
            return large(format!("it may be {TREE_DEEP_MAX} parts deep"));
        }
        let deep = deep + 1;
        match &mut part.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Call(call) => {
                if call.func_name == "_+_" {
                    self.additions += 1;
                    if self.additions > ADDITIONS_MAX {
                        return large(format!("it may have {ADDITIONS_MAX} additions"));
                    }
                }
                if let Some(target) = &mut call.target {
                    self.take(target, deep, loops)?;
                }
                for argument in &mut call.args {
                    self.take(argument, deep, loops)?;
                }
            }
            Expr::Select(select) => self.take(&mut select.operand, deep, loops)?,
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.take(element, deep, loops)?;
                }
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    self.entry(&mut entry.expr, deep, loops)?;
                }
            }
            Expr::Struct(it) => {
                for entry in &mut it.entries {
                    self.entry(&mut entry.expr, deep, loops)?;
                }
            }
            Expr::Comprehension(it) => {
                if loops >= LOOPS_DEEP_MAX {
                    return large(format!("loops may be {LOOPS_DEEP_MAX} deep"));
                }
                self.take(&mut it.iter_range, deep, loops)?;
                for inner in [
                    &mut it.accu_init,
                    &mut it.loop_cond,
                    &mut it.loop_step,
                    &mut it.result,
                ] {
                    self.take(inner, deep, loops + 1)?;
                }
                let step = std::mem::take(&mut it.loop_step);
                it.loop_step = IdedExpr {
                    id: step.id,
                    expr: Expr::Call(cel::common::ast::CallExpr {
                        func_name: PAY.to_owned(),
                        target: None,
                        args: vec![step],
                    }),
                };
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &mut EntryExpr,
        deep: usize,
        loops: usize,
    ) -> Result<(), ConditionError> {
        match entry {
            EntryExpr::StructField(field) => self.take(&mut field.value, deep, loops),
            EntryExpr::MapEntry(entry) => {
                self.take(&mut entry.key, deep, loops)?;
                self.take(&mut entry.value, deep, loops)
            }
        }
    }
}

/// JSON as CEL has it. A whole number is an `int` wherever it fits, so that it compares with what people write.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(whole)) => Value::UInt(whole),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(list) => Value::List(Arc::new(list.iter().map(value).collect())),
        Json::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, it)| (Key::String(Arc::new(key.clone())), value(it)));
            Value::Map(Map {
                map: Arc::new(entries.collect()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(text: &str, event: &Json) -> Result<bool, String> {
        Compiled::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .holds(&Subject::new(event))
    }

    #[test]
    fn a_condition_is_true_or_false_of_an_event() {
        let event = json!({
            "type": "com.example.order.placed", "subject": "order/7", "depth": 0,
            "data": {"total": 12.5, "count": 3, "tags": ["a", "b"], "items": [{"n": 1}, {"n": 5}], "big": u64::MAX},
        });
        for (text, expected) in [
            ("event.type == 'com.example.order.placed'", true),
            (
                "event.type.startsWith('com.example.') && event.data.total > 10.0",
                true,
            ),
            ("event.data.count == 3", true),
            ("event.data.count > 2 && event.depth == 0", true),
            ("event.data.tags.exists(t, t == 'c')", false),
            ("event.data.items.exists(i, i.n > 4)", true),
            ("event.data.items.all(i, i.n > 4)", false),
            ("event.data.items.map(i, i.n).size() == 2", true),
            ("'b' in event.data.tags", true),
            ("has(event.data.missing)", false),
            ("has(event.data.count) ? event.data.count < 3 : true", false),
            ("event.subject.matches('^order/[0-9]+$')", true),
            ("event.subject.matches('^invoice/')", false),
            ("size(event.data.tags) == 2", true),
        ] {
            assert_eq!(asked(text, &event), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_says_why() {
        let event = json!({"type": "t", "data": {"n": 1}});
        for (text, part) in [
            ("event.data.missing == 1", "missing"),
            ("event.data.n", "neither true nor false"),
            ("event.data.n + 'a' == 'b'", "add"),
            ("other == 1", "other"),
            ("event.type.matches('(')", "regex"),
            ("event.nothing()", "nothing"),
        ] {
            let error = asked(text, &event).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.chars().count() <= ERROR_CHARS_MAX + 50, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused_before_it_runs() {
        let nested = format!("{}1{}", "(".repeat(20), ")".repeat(20));
        let far = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
        let quick = format!("{}1{}", "[".repeat(400), "]".repeat(400));
        let sum = vec!["1"; 400].join("+");
        let ands = vec!["true"; 150].join("&&");
        let nots = format!("{}true", "!".repeat(900));
        let minus = format!("{}1", "-".repeat(900));
        let choice = format!("{}1", "true?1:".repeat(140));
        let select = format!("event{}", ".a".repeat(400));
        let index = format!("event{}", "[0]".repeat(300));
        let maps = "[1].map(a,[1].map(b,[1].map(c,[1].map(d,[1].map(e,[1].map(f,f))))))";
        for bad in [
            "",
            "  ",
            "event.",
            "1 +",
            "event..a",
            "a b",
            "'",
            "\"\\",
            "{",
            "((",
            "event.@turn(1)",
            "@turn(1)",
            "event\u{0}",
            &nested,
            &far,
            &quick,
            &sum,
            &choice,
            &select,
            &index,
            maps,
        ] {
            assert!(
                Compiled::parse(bad).is_err(),
                "{}",
                &bad[..bad.len().min(60)]
            );
        }
        // Deep or refused: either way the process goes on.
        for either in [&ands, &nots, &minus] {
            if let Ok(compiled) = Compiled::parse(either) {
                drop(compiled.holds(&Subject::new(&json!({}))));
            }
        }
    }

    #[test]
    fn a_loop_that_does_not_end_soon_is_stopped_and_says_so() {
        let many: Vec<u32> = (0..2_000).collect();
        let event = json!({"data": {"list": many, "text": "a".repeat(100_000)}});
        let begun = Instant::now();
        for text in [
            "event.data.list.all(a, event.data.list.all(b, a + b >= 0))",
            "event.data.list.exists(a, event.data.list.exists(b, a + b < 0)) || true",
            "event.data.list.map(a, event.data.list.map(b, b)).size() > 0",
            "event.data.list.filter(a, event.data.text.matches('(a+)+$')).size() > 0",
        ] {
            let error = asked(text, &event).expect_err(text);
            assert!(error.contains("turns of loops"), "{text}: {error}");
        }
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        let error = asked("event.data.text.matches('(.{1000}){1000}')", &event);
        assert!(error.is_err_and(|error| error.contains("limit") || error.contains("size")));
    }
}
