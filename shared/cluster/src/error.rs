//! What a cluster answered, or that it did not.

/// Why a call to a cluster did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no cluster to speak of: the settings.
    #[error("the cluster cannot be used: {0}")]
    Settings(String),
    /// It does not serve labs.
    #[error(
        "the cluster serves neither c9s.run nor clabernetes.containerlab.dev: install clabernetes in it"
    )]
    NoLabs,
    /// Something of this name is there and somebody else's.
    #[error(
        "{what} is in the cluster already and was not made here: rename the lab, or delete it there"
    )]
    NotOurs {
        /// Kind and name.
        what: String,
    },
    /// Somebody else changed the same at the same time, or owns a field of it.
    #[error("{what}: {why}")]
    Conflict {
        /// Kind and name.
        what: String,
        /// What the cluster said.
        why: String,
    },
    /// It refused, and will again.
    #[error("the cluster refused {what} ({code}): {why}")]
    Refused {
        /// Kind and name.
        what: String,
        /// The HTTP status.
        code: u16,
        /// What it said.
        why: String,
    },
    /// It could not say anything sensible just now.
    #[error("the cluster did not answer for {what}")]
    Away {
        /// Kind and name.
        what: String,
        /// What happened instead.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClusterError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Conflict { .. } => true,
            Self::Settings(_) | Self::NoLabs | Self::NotOurs { .. } | Self::Refused { .. } => false,
        }
    }

    pub(crate) fn of(what: &str, error: kube::Error) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => {
                let (code, why) = (status.code, status.message.clone());
                match code {
                    409 | 410 => Self::Conflict { what, why },
                    // 401 and 403 are settings, which people change; but not while a job is tried again.
                    400..=499 if code != 408 && code != 429 => Self::Refused { what, code, why },
                    _ => Self::Away {
                        what,
                        source: why.into(),
                    },
                }
            }
            error => Self::Away {
                what,
                source: error.into(),
            },
        }
    }
}
