//! Which file of a site a request's path means.

use blobs::site::{Entry, Manifest, SitePath, check_name};
use percent_encoding::percent_decode_str;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved<'a> {
    /// This file.
    File(&'a SitePath, &'a Entry),
    /// The same path with a slash at its end, so that the page's relative links work.
    AddSlash,
    /// Nothing.
    Nothing,
}

/// Looks the path of a URL, as it was sent, up in a manifest. `/docs/` means `docs/index.html`; `/about` means `about`
/// or `about.html`; a folder without its slash gets it.
///
/// A file is served because the manifest names it, so no spelling can reach anything else. Paths that no site can have
/// (dots, hidden names, escaped slashes, backslashes, control characters, no UTF-8) are nothing before they are looked up.
pub(crate) fn resolve<'a>(manifest: &'a Manifest, path: &str) -> Resolved<'a> {
    let Some(path) = decode(path) else {
        return Resolved::Nothing;
    };
    let file = |name: &str| manifest.files.get_key_value(name);
    if path.is_empty() || path.ends_with('/') {
        return match file(&format!("{path}index.html")) {
            Some((path, entry)) => Resolved::File(path, entry),
            None => Resolved::Nothing,
        };
    }
    if let Some((path, entry)) = file(&path).or_else(|| file(&format!("{path}.html"))) {
        return Resolved::File(path, entry);
    }
    match file(&format!("{path}/index.html")) {
        Some(_) => Resolved::AddSlash,
        None => Resolved::Nothing,
    }
}

/// The site's own page for what is not there.
pub(crate) fn not_found_page(manifest: &Manifest) -> Option<(&SitePath, &Entry)> {
    manifest.files.get_key_value("404.html")
}

/// The path without its first slash, decoded name by name: an escaped slash is part of a name, and no name has one.
fn decode(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let (folders, last) = path
        .rsplit_once('/')
        .map_or((None, path), |(folders, last)| (Some(folders), last));
    let mut decoded = String::with_capacity(path.len());
    for (depth, name) in folders
        .into_iter()
        .flat_map(|folders| folders.split('/'))
        .enumerate()
    {
        decoded.push_str(&decode_name(name, depth)?);
        decoded.push('/');
    }
    if !last.is_empty() {
        let depth = decoded.matches('/').count();
        decoded.push_str(&decode_name(last, depth)?);
    }
    Some(decoded)
}

fn decode_name(name: &str, depth: usize) -> Option<String> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    check_name(&name, depth).ok()?;
    Some(name.into_owned())
}

#[cfg(test)]
mod tests {
    use blobs::site::{Origin, Sha256Hex};

    use super::*;

    fn manifest(names: &[&str]) -> Manifest {
        let entry = Entry {
            sha256: Sha256Hex::of(b""),
            size: 0,
            content_type: "text/html".into(),
            origin: Origin::Verbatim,
        };
        let file = |name: &&str| (SitePath::new(*name).expect("good"), entry.clone());
        Manifest {
            files: names.iter().map(file).collect(),
        }
    }

    fn served(manifest: &Manifest, path: &str) -> Option<String> {
        match resolve(manifest, path) {
            Resolved::File(path, _) => Some(path.to_string()),
            Resolved::AddSlash => Some("add slash".to_owned()),
            Resolved::Nothing => None,
        }
    }

    #[test]
    fn a_path_means_a_file_a_page_or_a_folder() {
        let site = manifest(&[
            "index.html",
            "about.html",
            "both",
            "both.html",
            "docs/index.html",
            "docs/a b.html",
            "empty/x.txt",
            "ü.txt",
            ".well-known/security.txt",
        ]);
        for (path, file) in [
            ("/", Some("index.html")),
            ("/index.html", Some("index.html")),
            ("/about", Some("about.html")),
            ("/about.html", Some("about.html")),
            ("/both", Some("both")),
            ("/docs/", Some("docs/index.html")),
            ("/docs", Some("add slash")),
            ("/docs/a%20b", Some("docs/a b.html")),
            ("/%C3%BC.txt", Some("ü.txt")),
            (
                "/.well-known/security.txt",
                Some(".well-known/security.txt"),
            ),
            ("/about/", None),
            ("/about.html/", None),
            ("/empty/", None),
            ("/empty", None),
            ("/About", None),
            ("", None),
        ] {
            assert_eq!(served(&site, path).as_deref(), file, "{path}");
        }
    }

    #[test]
    fn hostile_paths_are_nothing() {
        let site = manifest(&["index.html", "etc/passwd", "a/b.html"]);
        for path in [
            "/..%2f..%2fetc/passwd",
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/a/../etc/passwd",
            "/./etc/passwd",
            "/etc%2fpasswd",
            "/etc%5cpasswd",
            "/\\..\\etc\\passwd",
            "/%00",
            "/etc/passwd%00",
            "/etc/passwd%00.html",
            "//etc/passwd",
            "/etc//passwd",
            "//",
            "//index.html",
            "/.git/config",
            "/.env",
            "/a/.git/config",
            "/%2egit/config",
            "/%ff",
            "/%c0%ae%c0%ae/etc/passwd",
            "/%252e%252e/etc/passwd",
            "/a/b.html/../b.html",
            "http://evil.example/",
            "*",
        ] {
            assert_eq!(served(&site, path), None, "{path}");
        }
        assert_eq!(served(&site, "/etc/passwd").as_deref(), Some("etc/passwd"));
    }
}
