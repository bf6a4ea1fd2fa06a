//! Turns the files of a commit into the files of a site.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use blobs::site::{Entry, Manifest, Origin, Sha256Hex, SitePath};
use bytes::Bytes;
use git::Warnings;
use sha2::{Digest, Sha256};

use crate::{
    markdown::{self, Pages},
    source::StorageBytes,
};

/// The largest Markdown file that becomes a page, in bytes. A larger one is published as it is.
const MARKDOWN_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What the content hash starts with; changes when the same files would mean another site.
const CONTENT_FORM: &[u8] = b"switchyard site 1\n";

/// A site that is ready to be published.
#[derive(Debug)]
pub struct Site {
    /// What it consists of.
    pub manifest: Manifest,
    /// The bytes of each file.
    pub bytes: BTreeMap<SitePath, Bytes>,
    /// The hash over all paths and bytes: equal for equal sites, whatever commit they come from.
    pub content: Sha256Hex,
    /// What was not done.
    pub warnings: Warnings,
}

/// Why a site was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// There is nothing to publish.
    #[error("the folder has no file that can be published: add one, or configure another folder")]
    Empty,
    /// The rendered site is larger than the workload may have.
    #[error(
        "the site is larger than {bytes_max} bytes: make it smaller, or raise storage_bytes_max"
    )]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Somebody cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Renders a site. With `markdown`, files ending in `.md` become pages; everything else is taken byte for byte. A
/// verbatim file wins over a page of the same name. `cancelled` is asked between files.
///
/// Computes for as long as there are files: call it where blocking is allowed.
pub fn render(
    files: BTreeMap<SitePath, Bytes>,
    markdown: bool,
    storage: StorageBytes,
    cancelled: &dyn Fn() -> bool,
) -> Result<Site, RenderError> {
    if files.is_empty() {
        return Err(RenderError::Empty);
    }
    let mut site = Builder {
        manifest: Manifest::default(),
        bytes: BTreeMap::new(),
        total: 0,
        storage,
    };
    let mut warnings = Warnings::default();
    let pages = if markdown {
        Arc::new(name_pages(&files, &mut warnings))
    } else {
        Pages::default()
    };
    for (path, bytes) in files {
        if cancelled() {
            return Err(RenderError::Cancelled);
        }
        match pages.get(&path) {
            None => site.add(path, bytes, Origin::Verbatim)?,
            Some(page) => {
                let source = String::from_utf8_lossy(&bytes);
                let html = markdown::page(&source, &path, &pages);
                site.add(page.clone(), html.into(), Origin::Rendered)?;
            }
        }
    }
    let style = SitePath::new(markdown::STYLE_PATH).expect("a constant that the tests check");
    if !pages.is_empty() && !site.bytes.contains_key(&style) {
        site.add(
            style,
            Bytes::from_static(markdown::STYLE.as_bytes()),
            Origin::Rendered,
        )?;
    }
    Ok(Site {
        content: content_hash(&site.manifest),
        manifest: site.manifest,
        bytes: site.bytes,
        warnings,
    })
}

struct Builder {
    manifest: Manifest,
    bytes: BTreeMap<SitePath, Bytes>,
    total: u64,
    storage: StorageBytes,
}

impl Builder {
    fn add(&mut self, path: SitePath, bytes: Bytes, origin: Origin) -> Result<(), RenderError> {
        let size = bytes.len() as u64;
        self.total += size;
        if self.total > self.storage.get() {
            return Err(RenderError::TooLarge {
                bytes_max: self.storage.get(),
            });
        }
        let entry = Entry {
            sha256: Sha256Hex::of(&bytes),
            size,
            content_type: content_type(path.name()).into(),
            origin,
        };
        self.manifest.files.insert(path.clone(), entry);
        self.bytes.insert(path, bytes);
        Ok(())
    }
}

/// Decides which Markdown file becomes which page.
fn name_pages(
    files: &BTreeMap<SitePath, Bytes>,
    warnings: &mut Warnings,
) -> BTreeMap<SitePath, SitePath> {
    let mut taken: BTreeSet<SitePath> = files.keys().cloned().collect();
    let mut pages = BTreeMap::new();
    // READMEs last: one becomes its folder's index only if nothing else does.
    let (readmes, others): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(path, _)| stem(path.name()).is_some_and(is_readme));
    for (path, bytes) in others.into_iter().chain(readmes) {
        let Some(stem) = stem(path.name()) else {
            continue;
        };
        if bytes.len() > MARKDOWN_BYTES_MAX {
            warnings.add(format!(
                "{:?} is published as it is: Markdown of more than {MARKDOWN_BYTES_MAX} bytes is not rendered",
                path.as_str()
            ));
            continue;
        }
        if markdown::is_tangled(&String::from_utf8_lossy(bytes)) {
            warnings.add(format!(
                "{:?} is published as it is: it nests too deep or has too many raw HTML tags to be rendered",
                path.as_str()
            ));
            continue;
        }
        let names = if is_readme(stem) {
            vec!["index", stem]
        } else {
            vec![stem]
        };
        let free = names.into_iter().find_map(|name| {
            let page = SitePath::new(format!("{}{name}.html", path.folder())).ok()?;
            (!taken.contains(&page)).then_some(page)
        });
        match free {
            Some(page) => {
                taken.insert(page.clone());
                pages.insert(path.clone(), page);
            }
            None => warnings.add(format!(
                "{:?} is published as it is: {stem}.html is there already",
                path.as_str()
            )),
        }
    }
    pages
}

/// The name of a Markdown file without its ending.
fn stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    let markdown = ending.eq_ignore_ascii_case("md") || ending.eq_ignore_ascii_case("markdown");
    (markdown && !stem.is_empty()).then_some(stem)
}

fn is_readme(stem: &str) -> bool {
    stem.eq_ignore_ascii_case("readme")
}

/// The media type by the name's ending. Text is taken to be UTF-8.
fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let essence = guess.essence_str();
    let text =
        essence.starts_with("text/") || matches!(essence, "application/json" | "image/svg+xml");
    if text {
        format!("{essence}; charset=utf-8")
    } else {
        essence.to_owned()
    }
}

/// Lengths come first, so that no two lists of files read the same.
fn content_hash(manifest: &Manifest) -> Sha256Hex {
    let mut hasher = Sha256::new_with_prefix(CONTENT_FORM);
    for (path, entry) in &manifest.files {
        let rendered = match entry.origin {
            Origin::Verbatim => 0,
            Origin::Rendered => 1,
        };
        hasher.update((path.as_str().len() as u64).to_be_bytes());
        hasher.update(path.as_str());
        hasher.update([rendered]);
        hasher.update((entry.content_type.len() as u64).to_be_bytes());
        hasher.update(entry.content_type.as_bytes());
        hasher.update(entry.sha256.as_str());
    }
    Sha256Hex::finish(hasher)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<SitePath, Bytes> {
        let file = |(path, text): &(&str, &str)| {
            (
                SitePath::new(*path).expect("a good path"),
                Bytes::from((*text).to_owned()),
            )
        };
        list.iter().map(file).collect()
    }

    fn build(list: &[(&str, &str)]) -> Site {
        render(files(list), true, StorageBytes::default(), &|| false).expect("it renders")
    }

    fn names(site: &Site) -> Vec<String> {
        site.manifest
            .files
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn markdown_becomes_pages_and_the_rest_stays() {
        let site = build(&[
            ("README.md", "# Hi"),
            ("a/b.Markdown", "x"),
            ("a/c.txt", "y"),
        ]);
        assert_eq!(
            names(&site),
            ["a/b.html", "a/c.txt", "index.html", "switchyard.css"]
        );
        assert_eq!(site.bytes["a/c.txt"], "y");
        let entry = &site.manifest.files["index.html"];
        assert_eq!(entry.content_type, "text/html; charset=utf-8");
        assert_eq!(entry.origin, Origin::Rendered);
        assert_eq!(site.manifest.files["a/c.txt"].origin, Origin::Verbatim);
    }

    #[test]
    fn a_readme_is_the_index_only_where_there_is_no_other() {
        let site = build(&[
            ("readme.md", "r"),
            ("index.md", "i"),
            ("a/README.md", "r"),
            ("a/index.html", "h"),
        ]);
        assert_eq!(
            names(&site),
            [
                "a/README.html",
                "a/index.html",
                "index.html",
                "readme.html",
                "switchyard.css"
            ]
        );
        assert_eq!(site.bytes["a/index.html"], "h");
    }

    #[test]
    fn a_verbatim_page_wins_and_its_markdown_is_published_as_it_is() {
        let site = build(&[("about.md", "from markdown"), ("about.html", "by hand")]);
        assert_eq!(site.bytes["about.html"], "by hand");
        assert_eq!(site.bytes["about.md"], "from markdown");
        assert_eq!(
            site.warnings.lines().collect::<Vec<_>>(),
            ["\"about.md\" is published as it is: about.html is there already"]
        );
        assert!(
            !site.bytes.contains_key("switchyard.css"),
            "nothing was rendered"
        );
    }

    #[test]
    fn markdown_that_would_unfold_is_published_as_it_is() {
        let bomb = "> ".repeat(20_000);
        let site = build(&[("bomb.md", &bomb), ("index.md", "[x](bomb.md)")]);
        assert_eq!(site.bytes["bomb.md"], bomb);
        assert_eq!(site.warnings.lines().count(), 1);
        let index = String::from_utf8_lossy(&site.bytes["index.html"]);
        assert!(index.contains("href=\"bomb.md\""), "{index}");
    }

    #[test]
    fn a_sites_own_style_sheet_is_kept() {
        let site = build(&[("index.md", "x"), ("switchyard.css", "mine")]);
        assert_eq!(site.bytes["switchyard.css"], "mine");
    }

    #[test]
    fn without_markdown_everything_is_verbatim() {
        let site = render(
            files(&[("a.md", "x")]),
            false,
            StorageBytes::default(),
            &|| false,
        )
        .expect("fine");
        assert_eq!(names(&site), ["a.md"]);
    }

    #[test]
    fn the_hash_is_of_the_content_and_of_nothing_else() {
        let site = [("index.md", "# Hi"), ("a.txt", "x")];
        assert_eq!(build(&site).content, build(&site).content);
        let moved = build(&[("index.md", "# Hi"), ("b.txt", "x")]);
        let changed = build(&[("index.md", "# Hi"), ("a.txt", "y")]);
        let all = [build(&site).content, moved.content, changed.content];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn the_limit_counts_what_was_rendered() {
        let storage = StorageBytes::try_from(100).expect("good");
        let error =
            render(files(&[("a.md", "short")]), true, storage, &|| false).expect_err("large");
        assert!(matches!(error, RenderError::TooLarge { bytes_max: 100 }));
    }

    #[test]
    fn nothing_to_publish_and_a_cancel_are_errors() {
        let storage = StorageBytes::default();
        let empty = render(BTreeMap::new(), true, storage, &|| false).expect_err("empty");
        assert!(matches!(empty, RenderError::Empty));
        let cancelled =
            render(files(&[("a", "b")]), true, storage, &|| true).expect_err("cancelled");
        assert!(matches!(cancelled, RenderError::Cancelled));
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_a_page() {
        let mut odd = files(&[]);
        odd.insert(
            SitePath::new("a.md").expect("good"),
            Bytes::from_static(b"\xff\xfe\0 x"),
        );
        let site = render(odd, true, StorageBytes::default(), &|| false).expect("fine");
        assert!(site.bytes.contains_key("a.html"));
    }
}
