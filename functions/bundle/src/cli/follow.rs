//! Follows a job's log: each line once, through restarts of whoever serves it, to the job's end.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::output::{line, note};
use super::reach::{Client, Output, Passing};
use super::shown::Shown;

/// A stream says something every 15 s; one that was silent for so long is taken up anew.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Between two tries to reach who serves it: the first, doubled up to the last.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);
/// For how long it is tried before that is told.
const TROUBLE_TOLD_AFTER: Duration = Duration::from_secs(3);
/// The longest message, in bytes: a thousand lines of 17 000 bytes, escaped.
const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How a job is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Told {
    pub(crate) state: model::JobState,
    /// What it waits for, where it does.
    #[serde(default)]
    pub(crate) waits_for: Option<model::Waiting>,
    pub(crate) reason: Option<String>,
    /// The number of its claim.
    pub(crate) epoch: i64,
}

/// A line, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Line {
    stream: String,
    text: String,
}

/// What a stream says next.
#[derive(Debug)]
pub(crate) enum News {
    /// It is something else now.
    Job(Told),
    /// It has ended.
    End(Told),
}

/// A log that is read as it grows.
pub(crate) struct Follow<'a> {
    client: &'a Client,
    path: String,
    shown: Shown,
    output: Output,
    /// The id of the last message that was dealt with.
    last: Option<String>,
    stream: Option<reqwest::Response>,
    buffer: Buffer,
}

impl<'a> Follow<'a> {
    /// The log of a job; with `query`, such as `?since=…`, from there on.
    pub(crate) fn new(
        client: &'a Client,
        job: model::JobId,
        query: &str,
        shown: Shown,
        output: Output,
    ) -> Self {
        Self {
            client,
            path: format!("jobs/{job}/log{query}"),
            shown,
            output,
            last: None,
            stream: None,
            buffer: Buffer::default(),
        }
    }

    /// Shows lines until something else is to be said.
    pub(crate) async fn next(&mut self) -> anyhow::Result<News> {
        let mut again = AGAIN_AFTER;
        let mut troubled: Option<Instant> = None;
        loop {
            match self.message().await {
                Ok(Some(message)) => {
                    again = AGAIN_AFTER;
                    if troubled
                        .take()
                        .is_some_and(|since| since.elapsed() >= TROUBLE_TOLD_AFTER)
                    {
                        note("it answers again");
                    }
                    let news = self.take(&message)?;
                    self.last = Some(message.id);
                    if let Some(news) = news {
                        return Ok(news);
                    }
                }
                // It ended without a word of the job's end: it is taken up where it was.
                Ok(None) => {
                    self.leave();
                    sleep(again).await;
                }
                Err(error) if error.is::<Passing>() => {
                    self.leave();
                    let since = troubled.get_or_insert_with(Instant::now);
                    let before = since.elapsed();
                    sleep(again).await;
                    again = (again * 2).min(AGAIN_AFTER_MAX);
                    if before < TROUBLE_TOLD_AFTER && since.elapsed() >= TROUBLE_TOLD_AFTER {
                        note(format_args!("{error:#}; trying on, nothing is lost"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn leave(&mut self) {
        self.stream = None;
        self.buffer = Buffer::default();
    }

    /// The next message; none when the stream ended.
    async fn message(&mut self) -> anyhow::Result<Option<Message>> {
        loop {
            if let Some(message) = self.buffer.message()? {
                return Ok(Some(message));
            }
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(self.client.stream(&self.path, self.last.as_deref()).await?),
            };
            // Silence and a connection that breaks are the same to us: it is taken up anew.
            match timeout(SILENCE_MAX, stream.chunk()).await {
                Ok(Ok(Some(chunk))) => self.buffer.bytes.extend_from_slice(&chunk),
                Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
            }
        }
    }

    fn take(&self, message: &Message) -> anyhow::Result<Option<News>> {
        let told = || -> anyhow::Result<Told> {
            serde_json::from_str(&message.data).context("the API says of the job what is not known")
        };
        match message.event.as_str() {
            "lines" => {
                let mut data: Value = serde_json::from_str(&message.data)
                    .context("the API sent lines that are no JSON")?;
                let items = data["items"].take();
                self.lines(items)?;
                Ok(None)
            }
            "job" => {
                if self.output == Output::Json {
                    line(format_args!("{{\"job\":{}}}", message.data));
                }
                told().map(|told| Some(News::Job(told)))
            }
            "end" => {
                if self.output == Output::Json {
                    line(format_args!("{{\"end\":{}}}", message.data));
                }
                told().map(|told| Some(News::End(told)))
            }
            // A newer API may say more.
            _ => Ok(None),
        }
    }

    /// Shows these lines.
    pub(crate) fn lines(&self, items: Value) -> anyhow::Result<()> {
        let Value::Array(items) = items else {
            anyhow::bail!("the API sent no list of lines");
        };
        for item in items {
            match self.output {
                Output::Json => line(json!({ "line": item })),
                Output::Text => {
                    let one: Line =
                        serde_json::from_value(item).context("the API sent a line without text")?;
                    self.shown.line(&one.stream, &one.text);
                }
            }
        }
        Ok(())
    }
}

/// One message of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: String,
    event: String,
    data: String,
}

/// What came of a stream and was not dealt with.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// How much of it holds no end of a message.
    searched: usize,
}

impl Buffer {
    /// The next message that is whole and says something.
    fn message(&mut self) -> anyhow::Result<Option<Message>> {
        loop {
            let from = self.searched.saturating_sub(1);
            let Some(at) = self.bytes[from..].windows(2).position(|two| two == b"\n\n") else {
                self.searched = self.bytes.len();
                anyhow::ensure!(
                    self.bytes.len() <= MESSAGE_BYTES_MAX,
                    "the stream has a message of more than {MESSAGE_BYTES_MAX} bytes: is this the address of the API?"
                );
                return Ok(None);
            };
            let rest = self.bytes.split_off(from + at + 2);
            let whole = std::mem::replace(&mut self.bytes, rest);
            self.searched = 0;
            let text = String::from_utf8(whole).context("the stream is no text")?;
            let mut message = Message::default();
            for field in text.lines() {
                let (name, value) = field.split_once(':').unwrap_or((field, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match name {
                    "id" => value.clone_into(&mut message.id),
                    "event" => value.clone_into(&mut message.event),
                    "data" => value.clone_into(&mut message.data),
                    _ => {}
                }
            }
            // Comments and the word about coming back say nothing of the job.
            if !message.event.is_empty() {
                return Ok(Some(message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_from_pieces() -> anyhow::Result<()> {
        let text = "retry: 1000\n\n:\n\nid: 1:2\nevent: lines\ndata: {\"items\":[]}\n\nid: 1:2\nevent: end\ndata: {}\n\n";
        for size in [1, 2, 3, 7, text.len()] {
            let mut buffer = Buffer::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                buffer.bytes.extend_from_slice(piece);
                while let Some(message) = buffer.message()? {
                    events.push((message.id, message.event, message.data));
                }
            }
            let expected = [
                (
                    "1:2".to_owned(),
                    "lines".to_owned(),
                    "{\"items\":[]}".to_owned(),
                ),
                ("1:2".to_owned(), "end".to_owned(), "{}".to_owned()),
            ];
            assert_eq!(events, expected, "in pieces of {size}");
        }
        Ok(())
    }
}
