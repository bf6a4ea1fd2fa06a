//! What a runner is told from outside: where it calls back, who it is there, and where it may put its files.

use std::path::PathBuf;

use exec::User;
use secrecy::SecretString;
use url::Url;

/// Users that runs get when we are root, one of its own each, so that no run can look into another's processes. Nobody else's on
/// any system that keeps to the usual ranges.
const USERS: std::ops::Range<u32> = 700_000_000..701_000_000;
/// Where those are not known: `nobody`.
const NOBODY: u32 = 65_534;

/// A setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} {problem}")]
pub struct WrongSetting {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it; never its value.
    pub problem: String,
}

/// Who programs run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAs {
    /// As we do.
    Same,
    /// As this user.
    User(User),
}

/// Everything that a runner is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it calls back (`CALLBACK_URL`).
    pub callback: Url,
    /// A file with the present value of that, on a machine where it is another after each start (`CALLBACK_URL_FILE`).
    pub callback_file: Option<PathBuf>,
    /// Who it is there (`RUN_TOKEN`).
    pub token: SecretString,
    /// What its folder is called (`RUN_NAME`).
    pub name: String,
    /// The folder of runs (`RUN_DATA`).
    pub data: PathBuf,
    /// Who programs run as (`RUN_AS`).
    pub run_as: RunAs,
    /// What every process of the run carries (`SWITCHYARD_RUN`).
    pub mark: String,
    /// Where programs are found (`PATH`).
    pub path: Option<String>,
}

impl Settings {
    /// Reads the settings from variables.
    ///
    /// # Errors
    /// When one is missing or wrong.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, WrongSetting> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let require = |name: &'static str| {
            given(name).ok_or_else(|| WrongSetting {
                name,
                problem: "is missing; a runner is started by Switchyard, which sets it".to_owned(),
            })
        };
        let callback: Url = require("CALLBACK_URL")?.parse().map_err(|_| WrongSetting {
            name: "CALLBACK_URL",
            problem: "is no URL".to_owned(),
        })?;
        if !matches!(callback.scheme(), "http" | "https") {
            return Err(WrongSetting {
                name: "CALLBACK_URL",
                problem: "is neither http nor https".to_owned(),
            });
        }
        let name = given("RUN_NAME").unwrap_or_else(|| "run".to_owned());
        if !is_name(&name) {
            return Err(WrongSetting {
                name: "RUN_NAME",
                problem: "must be made of a-z, A-Z, 0-9 and -".to_owned(),
            });
        }
        let run_as = given("RUN_AS");
        Ok(Self {
            callback,
            callback_file: given("CALLBACK_URL_FILE").map(PathBuf::from),
            token: require("RUN_TOKEN")?.into(),
            data: require("RUN_DATA")?.into(),
            run_as: run_as_of(run_as.as_deref(), &name)?,
            mark: given("SWITCHYARD_RUN")
                .unwrap_or_else(|| format!("{name}-{}", std::process::id())),
            path: given("PATH"),
            name,
        })
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 100
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `same`, `<uid>` or `<uid>:<gid>`; unless it is given, root's runs get users of their own and other people's run as themselves.
fn run_as_of(given: Option<&str>, name: &str) -> Result<RunAs, WrongSetting> {
    let wrong = |problem: &str| WrongSetting {
        name: "RUN_AS",
        problem: problem.to_owned(),
    };
    let is_root = rustix::process::geteuid().is_root();
    match given {
        Some("same") => Ok(RunAs::Same),
        Some(text) => {
            let (uid, gid) = text.split_once(':').unwrap_or((text, text));
            let id = |text: &str| text.parse::<u32>().ok().filter(|&id| id != 0);
            let (Some(uid), Some(gid)) = (id(uid), id(gid)) else {
                return Err(wrong(
                    "must be `same`, a user's number, or <user>:<group>, and not that of root",
                ));
            };
            if is_root {
                Ok(RunAs::User(User { uid, gid }))
            } else {
                Err(wrong("names a user, and only root can become another"))
            }
        }
        None if is_root => {
            let id = own_user(name);
            Ok(RunAs::User(User { uid: id, gid: id }))
        }
        None => Ok(RunAs::Same),
    }
}

fn own_user(name: &str) -> u32 {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let known = map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(from)), Some(Ok(_)), Some(Ok(count))) => {
                from <= u64::from(USERS.start) && from + count >= u64::from(USERS.end)
            }
            _ => false,
        }
    });
    if !known {
        return NOBODY;
    }
    // The same user for the same name, and rarely the same for two.
    USERS.start + exec::fnv1a(name.as_bytes()) % (USERS.end - USERS.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Settings, WrongSetting> {
        let given = [
            ("CALLBACK_URL", "http://127.0.0.1:1/callback"),
            ("RUN_TOKEN", "a-token"),
            ("RUN_DATA", "/tmp"),
            ("RUN_NAME", "7-1"),
        ];
        Settings::read(|name| {
            let all = more.iter().chain(&given);
            all.clone()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_wrong_is_named_and_never_shown() {
        for (name, value) in [
            ("CALLBACK_URL", "file:///etc/passwd"),
            ("CALLBACK_URL", "not a url"),
            ("RUN_TOKEN", ""),
            ("RUN_NAME", "../../etc"),
            ("RUN_AS", "0"),
            ("RUN_AS", "wheel"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert_eq!(error.name, name);
            assert!(
                value.is_empty() || !error.to_string().contains(value),
                "{error}"
            );
        }
        let settings = read(&[("RUN_AS", "same")]).expect("they are right");
        assert_eq!(settings.run_as, RunAs::Same);
        assert!(settings.mark.starts_with("7-1-"));
    }

    #[test]
    fn runs_of_root_get_users_of_their_own() {
        assert_eq!(own_user("7-1"), own_user("7-1"));
        if own_user("7-1") != NOBODY {
            assert_ne!(own_user("7-1"), own_user("8-1"));
            assert!(USERS.contains(&own_user("7-1")));
        }
    }
}
