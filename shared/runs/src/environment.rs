//! Environment variables that people may give to a program.

use std::collections::BTreeMap;

use model::run::RunSecret;

use crate::Refused;

/// Names and values of one run, in bytes.
pub const ENVIRONMENT_BYTES_MAX: usize = 32 * 1024;
const NAME_BYTES_MAX: usize = 128;
const VARIABLES_MAX: usize = 200;

/// How names begin that change how programs are loaded, where tools look, or what they do beside what the payload says.
const PREFIXES: &[&str] = &[
    "BASH_",
    "DYLD_",
    "GIT_",
    "LD_",
    "NODE_",
    "OPENSSL_",
    "PERL5",
    "PYTHON",
    "RUN_",
    "SWITCHYARD_",
    "TF_",
];

/// Names for which the same is true.
const NAMES: &[&str] = &[
    "BASHOPTS",
    "CALLBACK_URL",
    "CDPATH",
    "CHECKPOINT_DISABLE",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "LANG",
    "LOCPATH",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "TMPDIR",
    "USER",
];

/// Words in names of variables that are secrets.
const SECRETS: &[&str] = &[
    "CREDENTIAL",
    "KEY",
    "PASSPHRASE",
    "PASSWORD",
    "SECRET",
    "TOKEN",
];

/// Refuses names that are reserved or none, and too much of it all. `reserved` are further prefixes of a kind of task.
pub fn check_environment(
    environment: &BTreeMap<String, String>,
    reserved: &[&str],
    refused: &mut Refused,
) {
    if environment.len() > VARIABLES_MAX {
        refused.add(
            "environment",
            format!(
                "it has {} variables, and {VARIABLES_MAX} are the most",
                environment.len()
            ),
        );
        return;
    }
    let mut bytes = 0;
    for (name, value) in environment {
        bytes += name.len() + value.len();
        let field = format!("environment.{}", shown(name));
        if !is_name(name) {
            let problem = "a name has letters, digits and underscores, no digit first";
            refused.add(field, problem);
            continue;
        }
        let upper = name.to_ascii_uppercase();
        let begins = |prefix: &&&str| upper.starts_with(**prefix);
        if let Some(prefix) = PREFIXES.iter().chain(reserved).find(begins) {
            refused.add(
                field,
                format!("names that begin with {prefix} are reserved"),
            );
        } else if NAMES.contains(&&*upper) {
            refused.add(field, "this name is reserved");
        } else if value.contains('\0') {
            refused.add(field, "a value has no NUL in it");
        }
    }
    if bytes > ENVIRONMENT_BYTES_MAX {
        refused.add(
            "environment",
            format!("it has {bytes} bytes, and {ENVIRONMENT_BYTES_MAX} are the most"),
        );
    }
}

/// Whether what has this name should not be seen.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRETS.iter().any(|word| upper.contains(word))
}

/// What people gave, and of it what must not be seen, told by its name: as secrets that each step gets under their names, and
/// that are masked in everything a run says.
#[must_use]
pub fn told_apart(
    environment: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<RunSecret>) {
    let mut seen = BTreeMap::new();
    let mut secrets = Vec::new();
    for (name, value) in environment {
        if is_secret_name(name) {
            secrets.push(RunSecret {
                name: format!("environment {name}"),
                value: value.clone(),
                variable: Some(name.clone()),
                file: None,
            });
        } else {
            seen.insert(name.clone(), value.clone());
        }
    }
    (seen, secrets)
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A name that somebody made up, as it can be told.
pub(crate) fn shown(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, value: &str) -> usize {
        let mut refused = Refused::default();
        let environment = [(name.to_owned(), value.to_owned())].into();
        check_environment(&environment, &["ANSIBLE_"], &mut refused);
        refused.0.len()
    }

    #[test]
    fn what_changes_the_tools_themselves_is_refused_in_any_case() {
        for name in [
            "LD_PRELOAD",
            "ld_preload",
            "TF_CLI_ARGS",
            "TF_CLI_ARGS_plan",
            "TF_VAR_x",
            "TF_LOG",
            "PATH",
            "Path",
            "HOME",
            "GIT_SSH_COMMAND",
            "BASH_ENV",
            "ENV",
            "IFS",
            "PS4",
            "DYLD_INSERT_LIBRARIES",
            "RUN_TOKEN",
            "CALLBACK_URL",
            "ANSIBLE_CONFIG",
            "",
            "1A",
            "A B",
            "A=B",
            "A\nB",
            "é",
            "A\0",
        ] {
            assert_eq!(problems(name, "x"), 1, "{name:?}");
        }
        assert_eq!(problems("A", "x\0y"), 1);
        assert_eq!(problems(&"A".repeat(129), "x"), 1);
        assert_eq!(problems("A", &"x".repeat(ENVIRONMENT_BYTES_MAX)), 1);
        for name in ["AWS_REGION", "_x", "HTTPS_PROXY", "TFX"] {
            assert_eq!(problems(name, "$(id) \"; rm -rf / #\n"), 0, "{name}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        assert!(is_secret_name("AWS_SECRET_ACCESS_KEY") && is_secret_name("db_password"));
        assert!(!is_secret_name("AWS_REGION"));
        let given = [("AWS_REGION", "x"), ("DEVICE_PASSWORD", "s3cret")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (seen, secrets) = told_apart(&given.into());
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["AWS_REGION"]);
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].variable.as_deref(), Some("DEVICE_PASSWORD"));
    }
}
