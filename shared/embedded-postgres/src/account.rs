use crate::StartError;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whom the server runs as: ourselves, or, because `initdb` and `postgres` refuse root, somebody without privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `None`: ourselves.
    user: Option<User>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Ourselves, or, when we are root, `postgres`, else `nobody`.
    pub fn for_server() -> Result<Self, StartError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { user: None });
        }
        let path = Path::new("/etc/passwd");
        let passwd = std::fs::read_to_string(path).map_err(|source| StartError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let user = ["postgres", "_postgres", "nobody"]
            .into_iter()
            .find_map(|name| find_user(&passwd, name))
            .ok_or(StartError::NoAccount)?;
        Ok(Self { user: Some(user) })
    }

    /// A command that runs as this account with a clean environment and no standard input. Settings of whoever started
    /// us (`PGDATA`, `PGPORT`, locales) must not reach the server.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", "/")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Gives a file or folder (not what is in it) to this account.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    /// Gives a folder and all in it to this account, unless the folder is the account's already: data which was copied
    /// back by root, or made before by another user.
    pub(crate) fn own_tree(&self, folder: &Path) -> io::Result<()> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        if std::fs::symlink_metadata(folder)?.uid() == user.uid {
            return Ok(());
        }
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pending.push(entry.path());
                }
                lchown(entry.path(), Some(user.uid), Some(user.gid))?;
            }
        }
        // Last, because it is what tells that the rest is done.
        lchown(folder, Some(user.uid), Some(user.gid))
    }

    /// The first folder, from the root down, which this account cannot enter on its way into `folder`; `None` when
    /// nothing is in the way. `folder` must exist.
    pub fn blocked_by(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let folder = folder.canonicalize()?;
        let mut ancestors: Vec<&Path> = folder.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let metadata = std::fs::metadata(ancestor)?;
            let mode = metadata.permissions().mode();
            if !can_enter(user, mode, metadata.uid(), metadata.gid()) {
                return Ok(Some(ancestor.to_owned()));
            }
        }
        Ok(None)
    }

    /// The account's name for messages.
    pub fn name(&self) -> &str {
        self.user
            .as_ref()
            .map_or("that runs this program", |user| &user.name)
    }
}

/// Mode bits only: the account has no other groups, and access lists are rare enough to leave to the server's own error.
fn can_enter(user: &User, mode: u32, owner: u32, group: u32) -> bool {
    let execute = if user.uid == owner {
        0o100
    } else if user.gid == group {
        0o010
    } else {
        0o001
    };
    mode & execute != 0
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        // A second name of root would be refused like root.
        (uid != 0).then(|| User {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        }
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(find_user(passwd, "postgres"), Some(user()));
        assert_eq!(find_user(passwd, "nobody"), None);
    }

    #[test]
    fn another_name_of_root_is_no_account() {
        assert_eq!(find_user("postgres:x:0:0::/:/bin/sh", "postgres"), None);
    }

    #[test]
    fn only_the_bit_of_the_closest_class_counts() {
        assert!(can_enter(&user(), 0o700, 101, 0));
        assert!(!can_enter(&user(), 0o077, 101, 104));
        assert!(can_enter(&user(), 0o710, 0, 104));
        assert!(!can_enter(&user(), 0o701, 0, 104));
        assert!(can_enter(&user(), 0o711, 0, 0));
        assert!(!can_enter(&user(), 0o750, 0, 0));
    }
}
