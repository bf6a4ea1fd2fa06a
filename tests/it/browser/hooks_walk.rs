//! Somebody makes a trigger with two bindings, pushes, reads why one of them did nothing, puts its filter right, looks what it
//! would do with the push that came in, and lets it have that.

use super::demo::{Demo, git};
use super::driver::Browser;
use super::{quiet, sees, sees_often};
use crate::harness::Repository;

/// What a reader of a language looks for.
pub(super) struct Words {
    pub(super) language: &'static str,
    not_matched: &'static str,
    would_match: &'static str,
    succeeded: &'static str,
}

pub(super) const LANGUAGES: [Words; 2] = [
    Words {
        language: "en",
        not_matched: "branch is main, but it wants release/*",
        would_match: "Would match",
        succeeded: "Succeeded",
    },
    Words {
        language: "ru",
        not_matched: "ветка: main, а нужно release/*",
        would_match: "Подойдёт",
        succeeded: "Выполнено",
    },
];

pub(super) async fn follows_a_hook(browser: &Browser, demo: &Demo, words: &Words) {
    let name = format!("app pushes in {}", words.language);
    let repository = format!("team/app-{}", words.language);
    browser
        .go(&demo.portal(&format!("/triggers?lang={}", words.language)))
        .await;
    browser.click("a[href='/triggers/new']").await;
    browser.write("#name", &name).await;
    browser
        .write("[name='config.repository']", &repository)
        .await;
    browser.click(".form-end button[value='save']").await;
    sees(browser, "h1", &name).await;
    let secret = browser.text("#shown-once code").await;
    let url = browser
        .text("section[aria-labelledby='senders'] copy-text code")
        .await;
    assert!(
        secret.len() >= 32 && url.contains("/webhook-any/trg_"),
        "{url}"
    );
    for branch in ["main", "release/*"] {
        browser.click("a[href$='/bindings/new']").await;
        browser.write("[name='config.branches']", branch).await;
        browser.click(".form-end button[value='save']").await;
        sees(browser, ".bindings", branch).await;
    }
    // The page that is looked at now has its own address, and the secret is not there.
    let trigger = browser.script("return location.href").await;
    let trigger = trigger.as_str().expect("an address").to_owned();
    browser.go(&trigger).await;
    sees_often(browser, ".bindings tbody tr", 2).await;
    assert_eq!(browser.text("#shown-once").await, "");
    quiet(browser).await;

    push(demo, &repository, &url, &secret);
    browser.go(&demo.portal("/deliveries")).await;
    sees(browser, ".deliveries tbody tr:first-child", &repository).await;
    browser
        .click(".deliveries tbody tr:first-child a.row-link")
        .await;
    let delivery = browser.script("return location.href").await;
    browser.click(".event-rows a.row-link").await;
    sees(browser, ".decisions", words.not_matched).await;
    sees_often(browser, ".decisions .job-ref", 1).await;
    quiet(browser).await;

    browser.go(&trigger).await;
    browser
        .click(".bindings tbody tr:nth-child(2) a[href$='/edit']")
        .await;
    browser.write("[name='config.branches']", "main").await;
    browser.click(".form-end button[value='save']").await;
    sees(browser, ".bindings tbody tr:nth-child(2)", "main").await;

    browser.go(delivery.as_str().expect("an address")).await;
    browser.click("a[href*='/dry-run?delivery=']").await;
    sees(browser, "#tried tbody tr:nth-child(2)", words.would_match).await;
    quiet(browser).await;

    browser
        .click("#tried tbody tr:nth-child(2) form[action$='/replay'] button")
        .await;
    sees_often(browser, ".decisions .job-ref", 1).await;
    sees_often(browser, ".decisions tbody tr", 1).await;
    let asked = browser
        .script("return document.querySelectorAll('.decisions tbody tr').length")
        .await;
    assert_eq!(asked, 1, "only the one that it was replayed to is asked");
    browser.click(".decisions .job-ref a").await;
    sees(browser, "#job-status h1", words.succeeded).await;
    quiet(browser).await;
}

/// A real push to a repository whose hook tells the trigger, as a forge's does.
fn push(demo: &Demo, name: &str, url: &str, secret: &str) {
    let folder = demo.folder().join(name.replace('/', "-"));
    let bare = Repository::new(&folder, name);
    bare.tell_as_gitea(url, secret);
    let work = folder.join("work");
    std::fs::create_dir_all(&work).expect("our folder");
    std::fs::write(work.join("index.html"), "<p>hello</p>").expect("our folder");
    let to = bare.path().to_str().expect("our folders are text");
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["commit", "--quiet", "--message", "Begin"],
        &["push", "--quiet", to, "HEAD:main"],
    ] {
        git(&work, arguments);
    }
}
