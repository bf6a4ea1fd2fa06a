//! A log of a million lines and lines of 16 KiB in a browser: the page stays small, any line has an address, and following
//! never moves what somebody reads.

use std::time::Instant;

use serde_json::Value;

use super::driver::Browser;
use super::{SIGHT_MAX, quiet, sees};
use crate::harness::{Installation, turn, until};

/// Lines that the log has when the page is opened.
const LINES: i64 = 1_000_000;
/// Lines that a page holds at most.
const SHOWN_MAX: i64 = 5_000;
/// Characters of lines that a page holds at most, with the numbers and times beside them.
const CHARS_MAX: i64 = 9 * 1024 * 1024;
/// What scripts may keep, in bytes.
const HEAP_MAX: f64 = 96.0 * 1024.0 * 1024.0;

async fn number(browser: &Browser, script: &str) -> i64 {
    let found = browser.script(&format!("return {script}")).await;
    found
        .as_f64()
        .unwrap_or_else(|| panic!("{script}: {found}")) as i64
}

async fn lines(browser: &Browser) -> i64 {
    number(browser, "document.querySelectorAll('.line').length").await
}

async fn last(browser: &Browser) -> i64 {
    number(
        browser,
        "Number([...document.querySelectorAll('.line')].at(-1)?.id.slice(1) ?? 0)",
    )
    .await
}

async fn holds(browser: &Browser, script: &str) {
    until(script, SIGHT_MAX, || async {
        (browser.script(&format!("return {script}")).await == Value::Bool(true)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_a_million_lines_stays_light_in_a_browser() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let _turn = turn().await;
    let mut it = Installation::new().await;
    browser.go(&it.sign_in_link().await).await;
    browser.click("form[action='/sign-in'] button").await;
    let job = it.idle_job();
    it.print(job, "\u{1b}[32mline\u{1b}[0m ", 1, LINES).await;
    let page = it.portal(&format!("/jobs/{job}"));

    let began = Instant::now();
    browser.go(&page).await;
    println!("a page over {LINES} lines: {:?}", began.elapsed());
    assert_eq!(
        (lines(&browser).await, last(&browser).await),
        (1_000, LINES)
    );

    // Any line has an address, also when the page that it is on is open already.
    browser.go(&format!("{page}#L500000")).await;
    holds(
        &browser,
        "location.search === '?line=500000' && document.querySelector('#L500000') !== null",
    )
    .await;
    holds(
        &browser,
        "(() => { const box = document.querySelector('.log-scroll').getBoundingClientRect(); \
        const line = document.querySelector('#L500000').getBoundingClientRect(); \
        return line.top >= box.top - 1 && line.bottom <= box.bottom + 1; })()",
    )
    .await;
    assert!(lines(&browser).await <= 1_000);

    // However far somebody reads back, the page holds a part, and what they read stays where it is.
    for _ in 0..45 {
        let first = number(
            &browser,
            "Number(document.querySelector('.line').id.slice(1))",
        )
        .await;
        browser
            .script("document.querySelector('[data-log=before] a').click()")
            .await;
        holds(
            &browser,
            &format!("Number(document.querySelector('.line').id.slice(1)) < {first}"),
        )
        .await;
    }
    assert!(
        lines(&browser).await <= SHOWN_MAX,
        "{}",
        lines(&browser).await
    );
    let gaps = number(
        &browser,
        "[...document.querySelectorAll('.line')].filter((line, at, all) => at > 0 && \
         Number(line.id.slice(1)) !== Number(all[at - 1].id.slice(1)) + 1).length",
    )
    .await;
    assert_eq!(gaps, 0, "no line is missing or twice");

    // A search goes through all of it.
    browser.go(&page).await;
    browser.write(".log-find input", "m 987654").await;
    browser.click(".log-find button").await;
    holds(
        &browser,
        "document.querySelector('.line:target')?.id === 'L987654'",
    )
    .await;

    // Following a program that prints much, with lines of 16 KiB and what others would deceive with.
    browser.go(&page).await;
    holds(
        &browser,
        "document.querySelector('[data-log=follow]').getAttribute('aria-pressed') === 'true'",
    )
    .await;
    it.print(job, "flood ", LINES + 1, LINES + 50_000).await;
    holds(
        &browser,
        &format!("document.querySelector('#L{}') !== null", LINES + 50_000),
    )
    .await;
    assert!(lines(&browser).await <= SHOWN_MAX);
    let hostile = format!(
        "\u{1b}]0;title\u{7}\u{1b}]52;c;eA==\u{7}\u{1b}[2J</script><script>window.bad=1</script>\u{202e}{}",
        "x".repeat(16_000)
    );
    it.print(job, &hostile, LINES + 50_001, LINES + 51_000)
        .await;
    holds(
        &browser,
        &format!("document.querySelector('#L{}') !== null", LINES + 51_000),
    )
    .await;
    let chars = number(
        &browser,
        "document.querySelector('.log-lines').textContent.length",
    )
    .await;
    assert!(chars <= CHARS_MAX, "{chars} characters");
    holds(
        &browser,
        "window.bad === undefined && document.title.includes('nobodys')",
    )
    .await;
    let heap = browser
        .script("return performance.memory.usedJSHeapSize")
        .await;
    println!(
        "the page's scripts keep {heap} bytes, {} lines, {chars} characters",
        lines(&browser).await
    );
    assert!(
        heap.as_f64().is_some_and(|bytes| bytes <= HEAP_MAX),
        "{heap}"
    );

    // Somebody scrolls up and reads: nothing moves, and the new lines are counted.
    browser
        .script("document.querySelector('.log-scroll').scrollTop -= 400")
        .await;
    holds(
        &browser,
        "document.querySelector('[data-log=follow]').getAttribute('aria-pressed') === 'false'",
    )
    .await;
    let top = number(&browser, "document.querySelector('.log-scroll').scrollTop").await;
    it.print(job, "more ", LINES + 51_001, LINES + 51_100).await;
    holds(
        &browser,
        "!document.querySelector('[data-log=resume]').hidden",
    )
    .await;
    assert_eq!(
        number(&browser, "document.querySelector('.log-scroll').scrollTop").await,
        top
    );
    browser.click("[data-log=resume]").await;
    holds(
        &browser,
        &format!("document.querySelector('#L{}') !== null", LINES + 51_100),
    )
    .await;

    // The end is said, and the page stops listening.
    let done = it.run(&["cancel", &job.to_string(), "--wait"]);
    assert!(done.status.success());
    sees(&browser, "#job-status h1", "Cancelled").await;
    holds(&browser, "document.getElementById('live-source') === null").await;
    quiet(&browser).await;
}
