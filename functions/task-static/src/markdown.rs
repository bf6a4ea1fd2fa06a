//! Turns one Markdown file into a page that can do its reader no harm.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use blobs::site::SitePath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// How deep Markdown may nest.
const DEPTH_MAX: usize = 100;

/// The bound on raw start tags times everything that follows them. An HTML parser opens a forgotten `<b>` anew in each
/// paragraph, so a small file can unfold into a huge page; a README with a few hundred tags is far below.
const RAW_TAGS_BUDGET: usize = 2_000_000;

/// Where the style sheet of rendered pages is published. A site that has a file of this name brings its own style.
pub(crate) const STYLE_PATH: &str = "switchyard.css";

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The longest `lang` in a front matter, in bytes: BCP 47 asks for no more.
const LANG_BYTES_MAX: usize = 35;

/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 300;

/// What of Markdown is understood beyond CommonMark.
const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_YAML_STYLE_METADATA_BLOCKS);

/// What is escaped in a file's name inside a link.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The page of each Markdown file of a site, by the file.
pub(crate) type Pages = Arc<BTreeMap<SitePath, SitePath>>;

/// Renders the Markdown file `path`. The same bytes always give the same page.
pub(crate) fn page(source: &str, path: &SitePath, pages: &Pages) -> String {
    let document = Document::parse(source);
    let mut raw = String::with_capacity(source.len() * 3 / 2);
    html::push_html(&mut raw, document.events.into_iter());
    let body = sanitise(&raw, path, pages);
    let front = document.front;
    let title = front
        .get("title")
        .cloned()
        .or(document.heading)
        .unwrap_or_else(|| path.name().to_owned());
    let title: String = title.chars().take(TITLE_CHARS_MAX).collect();
    let lang = front
        .get("lang")
        .filter(|lang| is_language(lang))
        .map(|lang| format!(" lang=\"{lang}\""))
        .unwrap_or_default();
    format!(
        "<!doctype html>\n<html{lang}>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <link rel=\"stylesheet\" href=\"/{STYLE_PATH}\">\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title),
    )
}

/// Whether a file would cost more to render than a page is worth: nested without end, or full of raw tags.
pub(crate) fn is_tangled(source: &str) -> bool {
    let (mut depth, mut events, mut raw_tags) = (0_usize, 0_usize, 0_usize);
    for event in Parser::new_ext(source, OPTIONS) {
        events += 1;
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Html(raw) | Event::InlineHtml(raw) => {
                let bytes = raw.as_bytes();
                let starts = |two: &&[u8]| two[0] == b'<' && two[1].is_ascii_alphabetic();
                // A raw closing tag is work for the parser too.
                events += bytes.iter().filter(|byte| **byte == b'<').count();
                raw_tags += bytes.windows(2).filter(starts).count();
            }
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    raw_tags * events > RAW_TAGS_BUDGET
}

/// Text inside an element. (The sanitiser's own way also escapes spaces.)
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn is_language(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LANG_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A parsed file.
struct Document<'a> {
    events: Vec<Event<'a>>,
    front: HashMap<String, String>,
    /// The text of the first heading of the first level.
    heading: Option<String>,
}

impl<'a> Document<'a> {
    fn parse(source: &'a str) -> Self {
        let mut document = Self {
            events: Vec::new(),
            front: HashMap::new(),
            heading: None,
        };
        let mut in_front = false;
        let mut anchors = HashMap::new();
        // Where the innermost heading starts, and its text so far.
        let mut heading: Option<(usize, String)> = None;
        for event in Parser::new_ext(source, OPTIONS) {
            match event {
                Event::Start(Tag::MetadataBlock(_)) => in_front = true,
                Event::End(TagEnd::MetadataBlock(_)) => in_front = false,
                Event::Text(text) if in_front => document.front.extend(front_matter(&text)),
                // A box that is no form field: pages have no forms.
                Event::TaskListMarker(done) => {
                    let mark = if done { "☑ " } else { "☐ " };
                    document.events.push(Event::Text(CowStr::Borrowed(mark)));
                }
                event => {
                    match &event {
                        Event::Start(Tag::Heading { .. }) => {
                            heading = Some((document.events.len(), String::new()));
                        }
                        Event::Text(text) | Event::Code(text) => {
                            if let Some((_, heading)) = &mut heading {
                                heading.push_str(text);
                            }
                        }
                        Event::End(TagEnd::Heading(_)) => {
                            if let Some((start, text)) = heading.take() {
                                document.name_heading(start, text, &mut anchors);
                            }
                        }
                        _ => {}
                    }
                    document.events.push(event);
                }
            }
        }
        document
    }

    /// Gives a heading the anchor that readers of GitHub and Gitea expect.
    fn name_heading(&mut self, start: usize, text: String, taken: &mut HashMap<String, usize>) {
        let Some(Event::Start(Tag::Heading { level, id, .. })) = self.events.get_mut(start) else {
            return;
        };
        let slug = slug(&text);
        if !slug.is_empty() {
            let repeated = taken.entry(slug.clone()).or_default();
            *id = Some(match *repeated {
                0 => slug.into(),
                n => format!("{slug}-{n}").into(),
            });
            *repeated += 1;
        }
        let first_level = *level == pulldown_cmark::HeadingLevel::H1;
        if first_level && self.heading.is_none() && !text.trim().is_empty() {
            self.heading = Some(text);
        }
    }
}

fn slug(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// The plain `key: value` lines of a front matter. Whatever else YAML can say is passed over, so that it costs nothing.
fn front_matter(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        let plain = !value.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase());
        plain.then(|| (key.to_owned(), value.to_owned()))
    })
}

/// Keeps what formats text, links and shows images; drops the rest, whoever wrote it.
fn sanitise(raw: &str, path: &SitePath, pages: &Pages) -> String {
    let (folder, pages) = (path.folder().to_owned(), Arc::clone(pages));
    let headings = ["h1", "h2", "h3", "h4", "h5", "h6"];
    let mut builder = ammonia::Builder::default();
    builder
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("noopener noreferrer"))
        // Footnotes point to `id`s of `div`s.
        .add_tag_attributes("div", ["id"])
        .attribute_filter(
            move |element, attribute, value| match (element, attribute) {
                ("a", "href") => Some(page_link(value, &folder, &pages)),
                _ => Some(Cow::Borrowed(value)),
            },
        );
    for heading in headings {
        builder.add_tag_attributes(heading, ["id"]);
    }
    builder.clean(raw).to_string()
}

/// Leads a link to a Markdown file of the site to its page; leaves every other link as it is.
fn page_link<'a>(
    href: &'a str,
    folder: &str,
    pages: &BTreeMap<SitePath, SitePath>,
) -> Cow<'a, str> {
    let end = href.find(['?', '#']).unwrap_or(href.len());
    let (target, rest) = href.split_at(end);
    if target.contains(':') || target.starts_with("//") {
        return Cow::Borrowed(href);
    }
    let decoded = percent_decode_str(target).decode_utf8_lossy();
    let resolved = match decoded.strip_prefix('/') {
        Some(absolute) => resolve("", absolute),
        None => resolve(folder, &decoded),
    };
    let page = resolved.and_then(|resolved| pages.get(resolved.as_str()));
    match page {
        None => Cow::Borrowed(href),
        Some(page) => {
            // Everything up to the file's name stays as its author wrote it.
            let kept = target.rfind('/').map_or("", |slash| &target[..=slash]);
            Cow::Owned(format!(
                "{kept}{}{rest}",
                utf8_percent_encode(page.name(), NAME)
            ))
        }
    }
}

/// Follows a relative path from a folder; `None` when it leaves the site.
fn resolve(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SitePath {
        SitePath::new(text).expect("a good path")
    }

    fn pages() -> Pages {
        Arc::new(BTreeMap::from([
            (path("README.md"), path("index.html")),
            (path("docs/setup.md"), path("docs/setup.html")),
            (path("docs/a b.md"), path("docs/a b.html")),
        ]))
    }

    fn body(source: &str, of: &str) -> String {
        let page = page(source, &path(of), &pages());
        let (_, body) = page.split_once("<main>\n").expect("a body");
        let (body, _) = body.split_once("</main>").expect("its end");
        body.to_owned()
    }

    #[test]
    fn a_page_has_its_title_style_and_text() {
        let source = "---\ntitle: \"A <b> & c\"\nlang: ru\n---\n# Heading\n\n- [x] done\n\n| a |\n|---|\n| b |\n";
        insta::assert_snapshot!(page(source, &path("README.md"), &pages()), @r#"
        <!doctype html>
        <html lang="ru">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>A &lt;b&gt; &amp; c</title>
        <link rel="stylesheet" href="/switchyard.css">
        </head>
        <body>
        <main>
        <h1 id="heading">Heading</h1>
        <ul>
        <li>☑ done</li>
        </ul>
        <table><thead><tr><th>a</th></tr></thead><tbody>
        <tr><td>b</td></tr>
        </tbody></table>
        </main>
        </body>
        </html>
        "#);
    }

    #[test]
    fn the_title_is_the_front_matters_or_the_first_headings_or_the_files() {
        let title = |source| {
            let page = page(source, &path("docs/setup.md"), &pages());
            let (_, rest) = page.split_once("<title>").expect("a title");
            rest.split_once("</title>").expect("its end").0.to_owned()
        };
        assert_eq!(title("---\ntitle: 'Front'\n---\n# Heading"), "Front");
        assert_eq!(title("## Second\n\n# The `first` one"), "The first one");
        assert_eq!(title("text"), "setup.md");
    }

    #[test]
    fn hostile_markdown_is_harmless() {
        for source in [
            "<img src=x onerror=alert(1)>",
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a](&#106;avascript:alert(1))",
            "[a](java\tscript:alert(1))",
            "[a](vbscript:x)",
            "[a](data:text/html,<script>alert(1)</script>)",
            "![a](data:text/html;base64,PHNjcmlwdD4=)",
            "<a href=' javascript:alert(1)'>x</a>",
            "<svg onload=alert(1)><script>alert(1)</script></svg>",
            "<svg><a xlink:href='javascript:alert(1)'>x</a></svg>",
            "<math><mtext><table><mglyph><style><img src onerror=alert(1)>",
            "<base href='https://evil.example/'>",
            "<meta http-equiv=refresh content='0;url=https://evil.example'>",
            "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
            "<object data=x></object><embed src=x>",
            "<form action=https://evil.example><input name=a><button>b</button></form>",
            "<style>body{display:none}</style>",
            "<p style='position:fixed'>x</p>",
            "<link rel=stylesheet href=https://evil.example/x.css>",
            "</main></body><script>alert(1)</script>",
            "<!--><script>alert(1)</script>-->",
            "<noscript><p title='</noscript><img src onerror=alert(1)>'>",
            "```\"><script>alert(1)</script>\nx\n```",
        ] {
            let html = body(source, "README.md").to_lowercase();
            for bad in [
                "<script",
                "<svg",
                "<iframe",
                "<base",
                "<meta",
                "<object",
                "<embed",
                "<form",
                "<input",
                "<button",
                "<style",
                "<link",
                "<math",
                " on",
                " style=",
                "javascript:",
                "vbscript:",
                "data:",
                "srcdoc",
                "</main",
            ] {
                // What is left as text is escaped; only real tags and attributes count.
                let tags: String = html
                    .split('<')
                    .skip(1)
                    .filter_map(|t| t.split('>').next())
                    .fold(String::new(), |tags, tag| format!("{tags}<{tag}>"));
                assert!(!tags.contains(bad), "{source} -> {html}");
            }
        }
    }

    #[test]
    fn hostile_front_matter_stays_text() {
        let source =
            "---\ntitle: </title><script>alert(1)</script>\nlang: \"en\\\" onload=x\"\n---\n";
        let page = page(source, &path("README.md"), &pages());
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("<html>"), "{page}");
    }

    #[test]
    fn links_to_markdown_lead_to_pages() {
        for (source, of, href) in [
            ("[x](docs/setup.md)", "README.md", "docs/setup.html"),
            (
                "[x](./docs/setup.md?a=b#c)",
                "README.md",
                "./docs/setup.html?a=b#c",
            ),
            ("[x](setup.md#c)", "docs/a b.md", "setup.html#c"),
            ("[x](../README.md)", "docs/setup.md", "../index.html"),
            ("[x](/docs/setup.md)", "docs/setup.md", "/docs/setup.html"),
            ("[x](<a b.md>)", "docs/setup.md", "a%20b.html"),
            (
                "<a href='docs/setup.md'>x</a>",
                "README.md",
                "docs/setup.html",
            ),
            ("[x](docs/none.md)", "README.md", "docs/none.md"),
            ("[x](../../README.md)", "docs/setup.md", "../../README.md"),
            (
                "[x](https://e.example/setup.md)",
                "docs/setup.md",
                "https://e.example/setup.md",
            ),
            (
                "[x](//e.example/README.md)",
                "README.md",
                "//e.example/README.md",
            ),
            ("[x](#setup)", "README.md", "#setup"),
        ] {
            let html = body(source, of);
            assert!(
                html.contains(&format!("href=\"{href}\"")),
                "{source} in {of} -> {html}"
            );
        }
    }

    #[test]
    fn headings_have_anchors_and_repeated_ones_a_number() {
        let html = body(
            "# Что нового?\n\n## Set up `it`\n\n## Set up it\n",
            "README.md",
        );
        assert!(html.contains("<h1 id=\"что-нового\">"), "{html}");
        assert!(html.contains("<h2 id=\"set-up-it\">"), "{html}");
        assert!(html.contains("<h2 id=\"set-up-it-1\">"), "{html}");
    }

    #[test]
    fn what_would_unfold_is_told_before_it_is_rendered() {
        for source in [
            "> ".repeat(20_000),
            "<div>".repeat(20_000),
            "<b><i>".repeat(2_000),
            forgotten_tags(400, 2_000),
        ] {
            assert!(is_tangled(&source), "{}", &source[..20]);
        }
        let contributors = "<td><a href='x'><img src='y'></a></td>\n".repeat(200);
        let long = "# A heading\n\nSome *text* with `code`, and [a link](x.md).\n\n".repeat(5_000);
        for source in [
            contributors,
            long,
            "- ".repeat(50),
            "[".repeat(20_000),
            "*a ".repeat(20_000),
        ] {
            assert!(!is_tangled(&source), "{}", &source[..20]);
        }
    }

    /// Each of the paragraphs repeats every tag before it.
    fn forgotten_tags(tags: usize, paragraphs: usize) -> String {
        let tags: String = (0..tags).map(|n| format!("<b a{n}>")).collect();
        format!("x {tags}{}", "<p>x".repeat(paragraphs))
    }

    #[test]
    fn the_worst_page_that_is_rendered_stays_small() {
        let source = forgotten_tags(400, 400);
        assert!(!is_tangled(&source));
        let bytes = body(&source, "README.md").len();
        assert!((1_000_000..8_000_000).contains(&bytes), "{bytes}");
    }
}
