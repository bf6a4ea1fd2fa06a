/// Whether a commit survives a crash of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on disk before it is acknowledged.
    #[default]
    On,
    /// Fast, and lost with the machine: for tests alone.
    Off,
}

impl Durability {
    pub(crate) fn fsync(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// What `initdb` is told in addition. Small segments make data that is copied for each test process small.
    pub(crate) fn initdb(self) -> &'static [&'static str] {
        match self {
            Self::On => &[],
            Self::Off => &["--no-sync", "--wal-segsize=1"],
        }
    }
}

/// The server's settings as `name=value`, for its `-c` options.
pub fn settings(port: u16, durability: Durability) -> Vec<String> {
    vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // Loopback with a password is the only way in.
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        // Our statements are short; compiling them costs more than it saves.
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "log_min_messages=warning".to_owned(),
        // A client that is gone without a word gives its locks back after about two minutes.
        "tcp_keepalives_idle=60".to_owned(),
        "tcp_keepalives_interval=10".to_owned(),
        "tcp_keepalives_count=6".to_owned(),
        format!("fsync={}", durability.fsync()),
        format!("synchronous_commit={}", durability.fsync()),
        format!("full_page_writes={}", durability.fsync()),
    ]
}
