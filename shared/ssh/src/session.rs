//! A connection to a machine, and scripts that its shell runs.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{Channel, ChannelMsg, Disconnect};

use crate::HostKeys;

/// How long connecting and signing in may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A machine that is silently gone is noticed after three of these.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// How long a short script may take.
const SCRIPT_MAX: Duration = Duration::from_secs(60);
/// How much a short script may say, in bytes.
const SAID_BYTES_MAX: usize = 256 * 1024;

/// Whom to sign in to, and as whom.
#[derive(Clone)]
pub struct Target<'a> {
    /// Where. No name is looked up.
    pub address: SocketAddr,
    /// As whom.
    pub user: &'a str,
    /// With this private key, in OpenSSH's format.
    pub key: &'a str,
    /// What it may show of itself.
    pub host_keys: HostKeys,
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.user, self.address)
    }
}

/// Why nothing was done on another machine, or it is not known what.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The key to sign in with.
    #[error(
        "the key to sign in with is not a private key in OpenSSH's format, or it needs a passphrase"
    )]
    Key,
    /// It showed a key that is not one of those that are known.
    #[error(
        "{0} shows a host key that is not one of those known for it: another machine answers there, or its key was changed; compare them \
         before the new one is saved"
    )]
    HostKey(SocketAddr),
    /// It knows the user or the key not.
    #[error("{address} does not let {user} in with this key")]
    Denied {
        /// Where.
        address: SocketAddr,
        /// Whom.
        user: String,
    },
    /// Nobody is there, or not any more.
    #[error("the connection to {address} failed: {why}")]
    Lost {
        /// Where.
        address: SocketAddr,
        /// How.
        why: String,
    },
    /// Its shell could not do what it had to.
    #[error("{what} failed on {address}: {why}")]
    Script {
        /// What was to be done.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What it said.
        why: String,
    },
    /// A file is larger than it may be.
    #[error("{path} on {address} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which.
        path: String,
        /// Where.
        address: SocketAddr,
        /// What is taken.
        bytes_max: usize,
    },
    /// Something is still there that should be gone.
    #[error("something of the program still runs on {address}: processes {processes}")]
    Left {
        /// Where.
        address: SocketAddr,
        /// Their ids.
        processes: String,
    },
    /// A file of the run.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is to be run cannot be.
    #[error("{0}")]
    Program(String),
}

impl SshError {
    /// Whether connecting again may help.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// What a script said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: u32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, as text.
    pub stderr: String,
}

struct Pinned {
    keys: HostKeys,
    /// Set when the machine showed another key.
    strange: Arc<std::sync::atomic::AtomicBool>,
}

impl Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let good = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.keys.has(key),
            // What an authority vouches for is not what was pinned.
            PublicKeyOrCertificate::Certificate(_) => false,
        };
        self.strange
            .store(!good, std::sync::atomic::Ordering::SeqCst);
        Ok(good)
    }
}

/// A connection to a machine.
pub struct Session {
    handle: Handle<Pinned>,
    address: SocketAddr,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.address)
    }
}

impl Session {
    /// Connects and signs in.
    ///
    /// # Errors
    /// When nobody is there, the machine shows a strange key, or it does not let us in.
    pub async fn connect(target: &Target<'_>) -> Result<Self, SshError> {
        let address = target.address;
        let late = |_| SshError::Lost {
            address,
            why: format!("it took more than {} s", CONNECT_MAX.as_secs()),
        };
        tokio::time::timeout(CONNECT_MAX, Self::sign_in(target))
            .await
            .map_err(late)?
    }

    async fn sign_in(target: &Target<'_>) -> Result<Self, SshError> {
        let address = target.address;
        let lost = |error: russh::Error| SshError::Lost {
            address,
            why: error.to_string(),
        };
        let key = decode_secret_key(target.key, None).map_err(|_| SshError::Key)?;
        let mut config = client::Config {
            keepalive_interval: Some(KEEPALIVE_EVERY),
            nodelay: true,
            ..client::Config::default()
        };
        let offered = config.preferred.key.iter();
        let wanted = offered
            .filter(|algorithm| target.host_keys.may_be(algorithm))
            .cloned();
        config.preferred.key = Cow::Owned(wanted.collect());
        let strange = Arc::default();
        let pinned = Pinned {
            keys: target.host_keys.clone(),
            strange: Arc::clone(&strange),
        };
        let mut handle = client::connect(Arc::new(config), address, pinned)
            .await
            .map_err(|error| {
                let no_common_key = matches!(error, russh::Error::NoCommonAlgo { .. });
                if strange.load(std::sync::atomic::Ordering::SeqCst) || no_common_key {
                    SshError::HostKey(address)
                } else {
                    lost(error)
                }
            })?;
        let hash = if key.algorithm().is_rsa() {
            handle
                .best_supported_rsa_hash()
                .await
                .map_err(lost)?
                .flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let let_in = handle
            .authenticate_publickey(target.user, key)
            .await
            .map_err(lost)?;
        if !let_in.success() {
            let user = target.user.to_owned();
            return Err(SshError::Denied { address, user });
        }
        Ok(Self { handle, address })
    }

    /// Who it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lost(&self, why: impl std::fmt::Display) -> SshError {
        let (address, why) = (self.address, why.to_string());
        SshError::Lost { address, why }
    }

    /// Runs a short script to its end. It is read from standard input, so that nothing of it is seen in a list of processes.
    ///
    /// # Errors
    /// When the connection breaks off, or it takes too long.
    pub async fn script(&self, script: &str) -> Result<Said, SshError> {
        let run = self.exec("exec sh -s", Some(script.as_bytes()), SAID_BYTES_MAX);
        tokio::time::timeout(SCRIPT_MAX, run).await.map_err(|_| {
            self.lost(format!(
                "a script took more than {} s",
                SCRIPT_MAX.as_secs()
            ))
        })?
    }

    /// Runs a command with this on its standard input and reads what it says, at most so much.
    pub(crate) async fn exec(
        &self,
        command: &str,
        input: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Said, SshError> {
        let mut said = Said {
            code: u32::MAX,
            stdout: Vec::new(),
            stderr: String::new(),
        };
        let mut channel = self
            .handle
            .channel_open_session()
            .await
            .map_err(|e| self.lost(e))?;
        channel
            .exec(true, command)
            .await
            .map_err(|e| self.lost(e))?;
        if let Some(input) = input {
            channel.data(input).await.map_err(|e| self.lost(e))?;
        }
        channel.eof().await.map_err(|e| self.lost(e))?;
        let mut ended = false;
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    let room = (bytes_max + 1).saturating_sub(said.stdout.len());
                    said.stdout.extend_from_slice(&data[..data.len().min(room)]);
                }
                ChannelMsg::ExtendedData { data, .. } => {
                    let room = SAID_BYTES_MAX.saturating_sub(said.stderr.len());
                    let kept = &data[..data.len().min(room)];
                    said.stderr.push_str(&String::from_utf8_lossy(kept));
                }
                ChannelMsg::ExitStatus { exit_status } => {
                    said.code = exit_status;
                    ended = true;
                }
                ChannelMsg::ExitSignal { .. } => ended = true,
                ChannelMsg::Failure => {
                    return Err(self.lost("the machine runs no commands for this user"));
                }
                _ => {}
            }
        }
        if ended {
            Ok(said)
        } else {
            Err(self.lost("it broke off"))
        }
    }

    /// Starts a command whose output is taken as it comes.
    pub(crate) async fn follow(&self, command: &str) -> Result<Following, SshError> {
        let channel = self
            .handle
            .channel_open_session()
            .await
            .map_err(|e| self.lost(e))?;
        channel
            .exec(true, command)
            .await
            .map_err(|e| self.lost(e))?;
        Ok(Following {
            channel,
            ended: false,
        })
    }

    /// Says good-bye. What was started there runs on.
    pub async fn close(self) {
        let said = self
            .handle
            .disconnect(Disconnect::ByApplication, "", "en")
            .await;
        if let Err(error) = said {
            tracing::debug!("the connection to {} was gone: {error}", self.address);
        }
    }
}

/// A command that is followed.
pub(crate) struct Following {
    channel: Channel<client::Msg>,
    ended: bool,
}

impl Following {
    /// What it says next; nothing when it says no more.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        while let Some(message) = self.channel.wait().await {
            match message {
                ChannelMsg::Data { data } => return Some(data),
                ChannelMsg::ExitStatus { .. } => self.ended = true,
                _ => {}
            }
        }
        None
    }

    /// Whether it came to its end, and was not broken off.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}
