//! The demo's repository: bare, with a hook, and a clone in which a person works.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::git::{Git, Said};

/// The site, by path. `{marker}` is replaced by what is new in each push.
const SITE: [(&str, &str); 4] = [
    ("index.md", include_str!("site/index.md")),
    ("how-it-works.md", include_str!("site/how-it-works.md")),
    ("track.svg", include_str!("site/track.svg")),
    ("404.md", include_str!("site/404.md")),
];

/// A repository that was made now.
#[derive(Debug)]
pub(crate) struct DemoRepository {
    git: Git,
    folder: PathBuf,
}

impl DemoRepository {
    /// Makes the bare repository anew: what is deployed stays deployed, whatever an earlier demo left behind.
    pub(crate) async fn make(git: Git, folder: PathBuf) -> anyhow::Result<Self> {
        let repository = Self { git, folder };
        fs::create_dir_all(&repository.folder)
            .with_context(|| format!("could not make {}", repository.folder.display()))?;
        for folder in [repository.bare(), repository.work()] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| {
                        format!("could not remove {} of an earlier demo", folder.display())
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        // Without templates, which a machine may fill with hooks of its own.
        let init = ["init", "--quiet", "--bare", "--template=", "site.git"];
        repository.git.run(&repository.folder, &init).await?;
        Ok(repository)
    }

    /// Where people push to.
    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.join("site.git")
    }

    fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Sets what runs after each push.
    pub(crate) fn set_hook(&self, script: &str) -> anyhow::Result<()> {
        let hooks = self.bare().join("hooks");
        let path = hooks.join("post-receive");
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&hooks)?;
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        };
        write().with_context(|| format!("could not write {}", path.display()))
    }

    /// Clones, writes the site with something new in it, and commits. Returns the commit.
    pub(crate) async fn commit(&self, marker: &str) -> anyhow::Result<String> {
        let work = self.work();
        let clone = ["clone", "--quiet", "--template=", "site.git", "work"];
        self.git.run(&self.folder, &clone).await?;
        for (path, text) in SITE {
            let path = work.join(path);
            fs::write(&path, text.replace("{marker}", marker))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        let git = |arguments| self.git.run(&work, arguments);
        // An old git clones an empty repository onto its own default branch.
        git(&["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
        git(&["add", "--all"]).await?;
        git(&["commit", "--quiet", "--message", "Write the site"]).await?;
        let head = git(&["rev-parse", "HEAD"]).await?;
        Ok(head.out.trim().to_owned())
    }

    /// Pushes, which runs the hook.
    pub(crate) async fn push(&self) -> anyhow::Result<Said> {
        let push = ["push", "--quiet", "origin", "main"];
        self.git.run(&self.work(), &push).await
    }
}

/// A script that calls this program. Needs nothing but `sh`.
pub(crate) fn hook_script(program: &Path, arguments: &[&str]) -> String {
    let mut command = quoted(&program.display().to_string());
    for argument in arguments {
        command.push(' ');
        command.push_str(&quoted(argument));
    }
    format!(
        "#!/bin/sh\n# Tells Switchyard what was pushed, as Gitea would. Git gives the moves on standard input.\nexec {command}\n"
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_reaches_the_shell() {
        let script = hook_script(Path::new("/opt/it's here/x"), &["--url", "http://a/$(id)"]);
        let command = script.lines().last().expect("it has lines");
        assert_eq!(
            command,
            r"exec '/opt/it'\''s here/x' '--url' 'http://a/$(id)'"
        );
    }
}
