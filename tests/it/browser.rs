//! The portal as a person meets it: a browser on the demo, in each language, from the sign-in link to the old page that is
//! back. Nothing that the browser complains about is overlooked.

mod demo;
mod driver;
mod hooks_walk;
mod log_walk;
mod runs_walk;

use std::time::Duration;

use self::demo::Demo;
use self::driver::Browser;
use crate::harness::{turn, until};

/// How long anything on a page may take, on a busy machine.
const SIGHT_MAX: Duration = Duration::from_secs(30);

/// What a reader of a language looks for.
struct Words {
    language: &'static str,
    matched: &'static str,
    not_matched: &'static str,
    running: &'static str,
    succeeded: &'static str,
    failed: &'static str,
    wrong_minute: &'static str,
    replayed: &'static str,
}

const LANGUAGES: [Words; 2] = [
    Words {
        language: "en",
        matched: "branch is main, as wanted: main",
        not_matched: "branch is main, but it wants release",
        running: "Running",
        succeeded: "Succeeded",
        failed: "Failed",
        wrong_minute: "minute, \"61\", is wrong",
        replayed: "2 jobs start again",
    },
    Words {
        language: "ru",
        matched: "ветка: main — подходит под main",
        not_matched: "ветка: main, а нужно release",
        running: "Выполняется",
        succeeded: "Выполнено",
        failed: "Не удалось",
        wrong_minute: "задано поле «минута»",
        replayed: "2 задания начнутся снова",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_person_follows_a_push_and_rolls_it_back_in_every_language() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let _turn = turn().await;
    let mut demo = Demo::start().await;

    browser.go(&demo.sign_in_link().await).await;
    browser.click("form[action='/sign-in'] button").await;
    sees(&browser, "#overview .deliveries", "gitea").await;

    for words in LANGUAGES {
        reads_why(&browser, &demo, &words).await;
        watches_a_log(&browser, &demo, &words).await;
        rolls_back(&browser, &demo, &words).await;
        declares_a_schedule(&browser, &demo, &words).await;
        replays_what_died(&browser, &demo, &words).await;
    }
    for words in hooks_walk::LANGUAGES {
        hooks_walk::follows_a_hook(&browser, &demo, &words).await;
    }
    notices_a_violation(&browser, &demo).await;
}

/// From the overview to the event of the first push, and what its two bindings made of it.
async fn reads_why(browser: &Browser, demo: &Demo, words: &Words) {
    let first = format!("{}?lang={}", demo.portal("/"), words.language);
    browser.go(&first).await;
    let language = browser.script("return document.documentElement.lang").await;
    assert_eq!(language, words.language);
    // The first push is the oldest.
    browser
        .click(".deliveries tbody tr:last-child a.row-link")
        .await;
    sees(browser, "h1", "push").await;
    browser.click(".event-rows a.row-link").await;
    sees(browser, ".decisions", words.matched).await;
    sees(browser, ".decisions", words.not_matched).await;
    quiet(browser).await;
}

/// A deploy that takes as long as its repository does.
async fn watches_a_log(browser: &Browser, demo: &Demo, words: &Words) {
    browser.go(&demo.portal("/workloads")).await;
    browser
        .click(".workload-rows li:first-child a.row-link")
        .await;
    let held = demo.hold_branch();
    browser.click("form[action$='/deploy'] button").await;
    sees(browser, ".log-lines", "fetching").await;
    sees(browser, "#job-status h1", words.running).await;
    browser.script("window.stayed = true").await;
    let before = browser.text(".log-lines").await;
    assert!(!before.contains("the branch is at"), "{before}");

    held.let_go();
    sees(browser, ".log-lines", "the branch is at").await;
    sees(browser, "#job-status h1", words.succeeded).await;
    let stayed = browser.script("return window.stayed === true").await;
    assert_eq!(stayed, true, "the page changed without being loaded again");
    quiet(browser).await;
}

/// A push that is seen to arrive, and the way back from it.
async fn rolls_back(browser: &Browser, demo: &Demo, words: &Words) {
    browser.go(&demo.portal("/workloads")).await;
    browser
        .click(".workload-rows li:first-child a.row-link")
        .await;
    sees(browser, ".hero", "hello.localhost").await;
    let old = demo.page().await;
    let number = browser
        .script("return document.querySelectorAll('.revisions > li').length")
        .await;
    let new = format!("r{}", number.as_u64().expect("a count") + 1);
    let new = if words.language == "ru" {
        new.replace('r', "v")
    } else {
        new
    };

    let mark = format!("pushed for a reader of {}", words.language);
    demo.push(&mark);
    sees(browser, ".revisions > li.live", &new).await;
    assert!(demo.page().await.contains(&mark), "the push is live");

    browser.click(".revisions > li:nth-child(2) a.button").await;
    browser.click("form.actions button").await;
    sees(browser, "#job-status h1", words.succeeded).await;
    quiet(browser).await;

    browser.go(&demo.site()).await;
    let seen = browser.text("body").await;
    assert!(!seen.contains(&mark), "{seen}");
    assert_eq!(demo.page().await, old, "byte for byte");
    // What a browser says of a tenant's own page (that it has no icon) is not about ours.
    browser.said().await;
}

/// A schedule whose ticks follow what is written; its job, which asks for nothing that can be done, dies twice.
async fn declares_a_schedule(browser: &Browser, demo: &Demo, words: &Words) {
    browser.go(&demo.portal("/schedules")).await;
    browser.click("a[href='/schedules/new']").await;
    let name = format!("nightly in {}", words.language);
    browser.write("#name", &name).await;
    browser.write("#task", "task-static").await;
    browser.write("#time_zone", "Europe/Paris").await;
    browser.write("#rule", "61 3 * * *").await;
    sees(browser, "#preview", words.wrong_minute).await;
    browser.write("#rule", "30 3 * * *").await;
    sees(browser, "#preview", "03:30:00").await;
    sees(browser, "#preview", "Europe/Paris").await;
    browser.click(".form-end button[value='save']").await;
    sees(browser, "#schedule h1", &name).await;
    let page = browser.script("return location.href").await;
    let page = page.as_str().expect("an address");
    for _ in 0..2 {
        browser.go(page).await;
        browser.click("form[action$='/run'] button").await;
        sees(browser, "#job-status h1", words.failed).await;
    }
    quiet(browser).await;
}

/// Two dead jobs that are chosen start again.
async fn replays_what_died(browser: &Browser, demo: &Demo, words: &Words) {
    browser.go(&demo.portal("/dead")).await;
    for row in [1, 2] {
        let row = format!("#dead .job-rows > li:nth-child({row}) .choice");
        browser.click(&row).await;
    }
    browser.click("button[form='chosen'][value='replay']").await;
    sees(browser, ".callout", words.replayed).await;
    // They die again, and the list that is looked at tells.
    sees_often(browser, "#dead .job-rows > li", 2).await;
    quiet(browser).await;
}

/// A watch that never barks is none: what the policy forbids is told.
async fn notices_a_violation(browser: &Browser, demo: &Demo) {
    browser.go(&demo.portal("/")).await;
    quiet(browser).await;
    browser
        .script("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = true' }))")
        .await;
    let said = until("a word about the policy", SIGHT_MAX, || async {
        let said = browser.said().await;
        (!said.is_empty()).then_some(said)
    })
    .await;
    assert!(said[0].contains("Content Security Policy"), "{said:?}");
    let ran = browser.script("return window.ran === true").await;
    assert_eq!(ran, false);
}

/// Waits until an element says something.
async fn sees(browser: &Browser, selector: &str, text: &str) {
    until(&format!("{text:?} in {selector}"), SIGHT_MAX, || async {
        let seen = browser.text(selector).await;
        seen.contains(text).then_some(())
    })
    .await;
}

/// Waits until there are so many elements, or more.
async fn sees_often(browser: &Browser, selector: &str, count: u64) {
    until(&format!("{count} of {selector}"), SIGHT_MAX, || async {
        let script = format!("return document.querySelectorAll('{selector}').length");
        let found = browser.script(&script).await;
        (found.as_u64()? >= count).then_some(())
    })
    .await;
}

/// The browser has nothing to complain about, not even a warning.
async fn quiet(browser: &Browser) {
    let said = browser.said().await;
    assert!(said.is_empty(), "the browser complains: {said:#?}");
}
