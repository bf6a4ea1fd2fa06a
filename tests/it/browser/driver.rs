//! A headless browser, driven over the WebDriver protocol.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{client, until};
use crate::outside::skipped;

/// How long an element may take to be there, and a click to be possible.
const ELEMENT_MAX: Duration = Duration::from_secs(30);

/// Nothing that a browser does on its own account.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
];

/// The key under which the protocol hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own. It ends when it is dropped.
pub(super) struct Browser {
    http: reqwest::Client,
    session: String,
    driver: Child,
    browser: Option<Pid>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; nothing, after saying so, where there is none.
    pub(super) async fn start() -> Option<Self> {
        let mut driver = match Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        {
            Ok(driver) => driver,
            Err(error) => {
                skipped(&format!(
                    "chromedriver cannot be started ({error}): install chromium and chromium-driver"
                ));
                return None;
            }
        };
        let said = BufReader::new(driver.stdout.take().expect("it is piped"));
        let port = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("started successfully on port ")?;
                rest.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says where it listens");
        let profile = tempfile::tempdir().expect("a folder");
        let mut arguments: Vec<_> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let http = client();
        let root = format!("http://127.0.0.1:{port}/session");
        let answer = http.post(&root).json(&wanted).send().await;
        let answer: Value = answer
            .expect("chromedriver answers")
            .json()
            .await
            .expect("JSON");
        let Some(id) = answer["value"]["sessionId"].as_str() else {
            driver.kill().ok();
            driver.wait().ok();
            skipped(&format!(
                "chromium cannot be started: {}",
                answer["value"]["message"]
            ));
            return None;
        };
        let browser = answer["value"]["capabilities"]["goog:processID"].as_i64();
        Some(Self {
            session: format!("{root}/{id}"),
            browser: browser.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
            http,
            driver,
            _profile: profile,
        })
    }

    /// Opens an address and waits until the page is loaded.
    pub(super) async fn go(&self, url: &str) {
        let went = self.post("url", json!({"url": url})).await;
        went.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Clicks an element as a person does, once it is there; a page that it leads to is loaded when this returns.
    pub(super) async fn click(&self, selector: &str) {
        let wanted = json!({"using": "css selector", "value": selector});
        until(&format!("a click on {selector}"), ELEMENT_MAX, || async {
            // The stream may replace an element between the two: then it is looked for again.
            let element = self.post("element", wanted.clone()).await.ok()?;
            let id = element[ELEMENT].as_str()?.to_owned();
            let clicked = self.post(&format!("element/{id}/click"), json!({})).await;
            clicked.ok().map(drop)
        })
        .await;
    }

    /// Writes into a field, in place of what is there.
    pub(super) async fn write(&self, selector: &str, text: &str) {
        let wanted = json!({"using": "css selector", "value": selector});
        let element = self.post("element", wanted).await;
        let element = element.unwrap_or_else(|error| panic!("{selector}: {error}"));
        let id = element[ELEMENT].as_str().expect("an element").to_owned();
        for (deed, body) in [("clear", json!({})), ("value", json!({"text": text}))] {
            let done = self.post(&format!("element/{id}/{deed}"), body).await;
            done.unwrap_or_else(|error| panic!("{deed} {selector}: {error}"));
        }
    }

    /// What an element shows; nothing while it is not there.
    pub(super) async fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        let text = self.script(&script).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page.
    pub(super) async fn script(&self, script: &str) -> Value {
        let ran = self
            .post("execute/sync", json!({"script": script, "args": []}))
            .await;
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What the browser has to say since it was asked last: errors and warnings of scripts, the network and the policy.
    pub(super) async fn said(&self) -> Vec<String> {
        let log = self.post("se/log", json!({"type": "browser"})).await;
        let log = log.unwrap_or_else(|error| panic!("the browser's log: {error}"));
        let entries = log.as_array().expect("a list").iter();
        entries
            .map(|entry| format!("{} {}", entry["level"], entry["message"]))
            .collect()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        let answer = self
            .http
            .post(format!("{}/{path}", self.session))
            .json(&body)
            .send()
            .await
            .expect("chromedriver answers");
        let is_done = answer.status().is_success();
        let mut answer: Value = answer.json().await.expect("JSON");
        let value = answer["value"].take();
        if is_done {
            Ok(value)
        } else {
            Err(value["message"].to_string())
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver leaves its browser behind when it ends, and cannot be asked to close it without waiting.
        if let Some(browser) = self.browser {
            kill_process(browser, Signal::TERM).ok();
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
