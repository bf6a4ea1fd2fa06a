//! Where a repository is and what of it is wanted, as checked words: nothing here can be an option, another protocol, or a
//! way out.

use std::{fmt, path::Path, path::PathBuf};

use gix::bstr::ByteSlice;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::fetch::Source;

/// The longest repository name, branch or folder, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The most groups and subgroups before a repository's name, the name included.
const REPOSITORY_DEPTH_MAX: usize = 8;

/// The longest address, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// Why a word is refused. Its text is for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// The base URL cannot be parsed.
    #[error("`{0}` is not a URL: write the provider's address, such as https://github.com")]
    BaseUrl(String),
    /// The base URL is not `https:`.
    #[error("`{0}:` is not taken: a provider is reached over https only")]
    Scheme(String),
    /// The base URL has more than a host, a port and a path.
    #[error(
        "the provider's address has no user, password, query or fragment; a token is a credential of its own"
    )]
    BaseUrlParts,
    /// The repository is not `owner/name`.
    #[error(
        "`{0}` is not a repository: write owner/name, with letters, digits, dots, dashes and underscores"
    )]
    Repository(String),
    /// The branch is not a name that Git takes.
    #[error("`{0}` is not a branch: write its short name, such as main")]
    Branch(String),
    /// The address is neither https nor a folder of this machine.
    #[error(
        "`{0}` is not the address of a repository: write https://host/owner/name; ssh, git, file: and ext:: are not taken, and a user or password goes into a credential"
    )]
    Source(String),
    /// The folder is not a relative path.
    #[error(
        "`{0}` is not a folder of the repository: write docs/site, without a slash at either end and without .."
    )]
    Folder(String),
    /// The local repository is not an absolute path.
    #[error(
        "`{0}` is not a local repository: write its absolute path; file:, ssh and ext:: are not taken"
    )]
    LocalPath(String),
    /// The commit is not a full hash.
    #[error("`{0}` is not a commit: write all 40 hex digits")]
    Commit(String),
}

/// The address of a provider, such as `https://github.com` or `https://git.example.com/forge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(Url);

/// A repository of a provider: `owner/name`, or with groups before the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

/// The short name of a branch, by the rules of `git check-ref-format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

/// A folder inside a repository; empty for its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Folder(String);

/// The absolute path of a repository on this machine. Whether it may be read is decided when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPath(PathBuf);

/// The full hash of a commit, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl TryFrom<String> for BaseUrl {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let mut url = Url::parse(&text).map_err(|_| WordError::BaseUrl(text.clone()))?;
        if url.scheme() != "https" {
            return Err(WordError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(WordError::BaseUrlParts);
        }
        // `Url::join` keeps a path only up to its last slash.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }
}

impl BaseUrl {
    /// The address as a URL, with a slash at its end.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Where a repository is fetched from.
    pub fn repository_url(&self, repository: &Repository) -> Url {
        let mut url = self.0.clone();
        let path = format!("{}{}.git", url.path(), repository.0);
        url.set_path(&path);
        url
    }
}

impl TryFrom<String> for Source {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        if text.starts_with('/') {
            return LocalPath::try_from(text).map(Self::Local);
        }
        let refused = || WordError::Source(text.chars().take(NAME_BYTES_MAX).collect());
        if text.len() > URL_BYTES_MAX || text.contains(|c: char| c.is_control() || c == '\\') {
            return Err(refused());
        }
        let mut url = Url::parse(&text).map_err(|_| refused())?;
        let plain = url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let path = url.path().trim_matches('/').to_owned();
        // Git's own address of a repository ends where its path does.
        if !plain
            || path.is_empty()
            || path
                .split('/')
                .any(|part| part.is_empty() || part.starts_with('-'))
        {
            return Err(refused());
        }
        url.set_path(&path);
        Ok(Self::Remote(url))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(url) => url.fmt(f),
            Self::Local(path) => path.fmt(f),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Repository {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let name = text.strip_suffix(".git").unwrap_or(&text);
        let depth = name.split('/').count();
        let good = name.len() <= NAME_BYTES_MAX
            && (2..=REPOSITORY_DEPTH_MAX).contains(&depth)
            && name.split('/').all(is_repository_part);
        if good {
            Ok(Self(name.to_owned()))
        } else {
            Err(WordError::Repository(text))
        }
    }
}

fn is_repository_part(part: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.starts_with('-')
        && part.bytes().all(character)
}

impl TryFrom<String> for Branch {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let good = text.len() <= NAME_BYTES_MAX
            && !text.starts_with('-')
            // Right by the rules of references, and never meant as the name of a branch.
            && !text.starts_with("refs/")
            && text != "HEAD"
            && gix::validate::reference::name(format!("refs/heads/{text}").as_bytes().as_bstr()).is_ok();
        if good {
            Ok(Self(text))
        } else {
            Err(WordError::Branch(text))
        }
    }
}

impl Default for Branch {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl Branch {
    /// The full name of the reference.
    pub fn reference(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl TryFrom<String> for Folder {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let good =
            text.is_empty() || text.len() <= NAME_BYTES_MAX && text.split('/').all(is_folder_part);
        if good {
            Ok(Self(text))
        } else {
            Err(WordError::Folder(text))
        }
    }
}

fn is_folder_part(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.eq_ignore_ascii_case(".git")
        && !part.chars().any(|c| c.is_control() || c == '\\')
}

impl Folder {
    /// The names on the way from the root to the folder.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl TryFrom<String> for LocalPath {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let path = Path::new(&text);
        let good = path.is_absolute()
            && text.len() <= 4096
            && !text.chars().any(char::is_control)
            && !path
                .components()
                .any(|part| part == std::path::Component::ParentDir);
        if good {
            Ok(Self(path.to_owned()))
        } else {
            Err(WordError::LocalPath(text))
        }
    }
}

impl LocalPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<String> for CommitId {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(WordError::Commit(text))
        }
    }
}

/// Whether this names an object: 40 or 64 lower-case hexadecimal digits that are not all zeros.
pub(crate) fn is_hash(text: &str) -> bool {
    let digits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    matches!(text.len(), 40 | 64) && digits && text.bytes().any(|b| b != b'0')
}

impl From<gix::ObjectId> for CommitId {
    fn from(id: gix::ObjectId) -> Self {
        Self(id.to_hex().to_string())
    }
}

impl CommitId {
    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    pub(crate) fn to_object_id(&self) -> gix::ObjectId {
        gix::ObjectId::from_hex(self.0.as_bytes()).expect("40 hex digits, checked when it was made")
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0.into()
    }
}

impl From<LocalPath> for String {
    fn from(path: LocalPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl From<Repository> for String {
    fn from(word: Repository) -> Self {
        word.0
    }
}

impl From<Branch> for String {
    fn from(word: Branch) -> Self {
        word.0
    }
}

impl From<Folder> for String {
    fn from(word: Folder) -> Self {
        word.0
    }
}

impl From<CommitId> for String {
    fn from(word: CommitId) -> Self {
        word.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: TryFrom<String, Error = WordError> + fmt::Debug>(texts: &[&str]) {
        for text in texts {
            T::try_from((*text).to_owned()).expect_err(text);
        }
    }

    fn taken<T: TryFrom<String, Error = WordError> + fmt::Debug>(texts: &[&str]) {
        for text in texts {
            T::try_from((*text).to_owned()).expect(text);
        }
    }

    #[test]
    fn only_https_without_userinfo_is_a_provider() {
        taken::<BaseUrl>(&["https://github.com", "https://git.example.com:3000/forge/"]);
        refused::<BaseUrl>(&[
            "http://github.com",
            "file:///etc",
            "ssh://git@host/x",
            "git://host/x",
            "git@host:owner/name",
            "ext::sh -c id",
            "--upload-pack=id",
            "-oProxyCommand=id",
            "https://user@host",
            "https://user:word@host",
            "https://host/?a=b",
            "https://host/#a",
            "",
        ]);
    }

    #[test]
    fn an_address_is_https_or_a_folder_and_no_option() {
        for (text, written) in [
            ("https://github.com/o/n", "https://github.com/o/n"),
            (
                "https://git.example.com:3000/forge/o/n.git/",
                "https://git.example.com:3000/forge/o/n.git",
            ),
            ("/srv/git/n.git", "/srv/git/n.git"),
        ] {
            let source = Source::try_from(text.to_owned()).expect(text);
            assert_eq!(source.to_string(), written);
        }
        let long = format!("https://h/{}", "a".repeat(URL_BYTES_MAX));
        for bad in [
            "",
            "https://github.com",
            "https://github.com/",
            "http://github.com/o/n",
            "ext::sh -c id",
            "ext::https://h/o/n",
            "file:///etc/passwd",
            "ssh://git@h/o/n",
            "git@h:o/n",
            "git://h/o/n",
            "-oProxyCommand=id",
            "--upload-pack=id",
            "https://h/--upload-pack=id",
            "https://h/o/-n",
            "https://u@h/o/n",
            "https://u:p@h/o/n",
            "https://h/o/n?ref=x",
            "https://h/o/n#x",
            "https://h/o\\n",
            "https://h/o\nn",
            "../n",
            "/srv/../etc",
            &long,
        ] {
            Source::try_from(bad.to_owned()).expect_err(bad);
        }
    }

    #[test]
    fn a_repository_is_owner_and_name() {
        taken::<Repository>(&["owner/name", "group/sub/name.git", "o/.github", "a-b/c_d.e"]);
        refused::<Repository>(&[
            "",
            "name",
            "/name",
            "owner/",
            "owner//name",
            "owner/..",
            "../x/y",
            "owner/--x",
            "-x/y",
            "o/a b",
            "o/a?b",
            "o/a#b",
            "o/a%2e",
            "o/n@x",
            "a/b/c/d/e/f/g/h/i",
            "o\\n/x",
            "o/.git",
        ]);
        let base = BaseUrl::try_from("https://h/forge".to_owned()).expect("good");
        let name = Repository::try_from("o/n.git".to_owned()).expect("good");
        assert_eq!(
            base.repository_url(&name).as_str(),
            "https://h/forge/o/n.git"
        );
    }

    #[test]
    fn a_branch_is_what_git_takes() {
        taken::<Branch>(&["main", "feature/x", "v1.2", "ü", "a@b"]);
        refused::<Branch>(&[
            "",
            "--output=x",
            "-x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a.lock",
            "/a",
            "a/",
            "HEAD",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a@{b",
            "a\0b",
            "a\nb",
            "refs/heads/main",
        ]);
    }

    #[test]
    fn a_folder_stays_inside() {
        taken::<Folder>(&["", "docs", "docs/site", ".vitepress/dist"]);
        refused::<Folder>(&[
            "/", "/docs", "docs/", "..", "a/../b", "a//b", ".", ".git", "a/.GIT/x", "a\\b", "a\0",
        ]);
        let deep = Folder::try_from("a/b".to_owned()).expect("good");
        assert_eq!(deep.parts().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Folder::default().parts().count(), 0);
    }

    #[test]
    fn a_local_repository_is_an_absolute_path() {
        taken::<LocalPath>(&["/srv/git/site.git"]);
        refused::<LocalPath>(&[
            "",
            "site.git",
            "./x",
            "../x",
            "file:///etc",
            "ext::sh -c id",
            "-x",
            "--upload-pack=x",
            "/a/../b",
            "/a\0",
        ]);
    }

    #[test]
    fn a_commit_is_a_full_hash() {
        taken::<CommitId>(&[&"a1".repeat(20), &"A1".repeat(20)]);
        refused::<CommitId>(&["", "main", "a1b2c3", &"g".repeat(40), &"a".repeat(64)]);
    }
}
