//! What the figures were measured under.

use serde::Serialize;

use crate::ground::Ground;

/// The machine and the database.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// Logical processors.
    pub cpus: usize,
    /// What they call themselves.
    pub cpu_model: String,
    /// Kernel.
    pub kernel: String,
    /// Server version.
    pub postgres: String,
    /// Its settings that decide on durability.
    pub durability: String,
    /// Flushes of one page a second, one after the other, on the database's disk.
    pub fsync_rate: f64,
    /// Load average of the last minute when the run began: what else the machine did.
    pub load_before: f64,
    /// The same at its end.
    pub load_after: f64,
}

impl Conditions {
    /// Reads them; the load at the end is that of now.
    pub async fn read(ground: &Ground) -> anyhow::Result<Self> {
        let mut connection = ground.connection().await?;
        let setting = |name: &'static str| {
            sqlx::query_scalar::<_, String>("select current_setting($1)").bind(name)
        };
        let postgres = setting("server_version").fetch_one(&mut connection).await?;
        let mut durability = Vec::new();
        for name in [
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "shared_buffers",
            "max_wal_size",
        ] {
            durability.push(format!(
                "{name}={}",
                setting(name).fetch_one(&mut connection).await?
            ));
        }
        let load = load()?;
        Ok(Self {
            cpus: std::thread::available_parallelism()?.get(),
            cpu_model: cpu_model()?,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            postgres,
            durability: durability.join(" "),
            fsync_rate: ground.fsync_rate()?,
            load_before: load,
            load_after: load,
        })
    }

    /// Takes the load of now as that of the end.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.load_after = load()?;
        Ok(())
    }

    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{} × {}, Linux {}, load {:.1} → {:.1}\nPostgreSQL {}: {}\n{:.0} flushes of 8 KiB a second, one after the other\n",
            self.cpus,
            self.cpu_model,
            self.kernel,
            self.load_before,
            self.load_after,
            self.postgres,
            self.durability,
            self.fsync_rate
        )
    }
}

fn cpu_model() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Ok(model
        .map_or("unknown", |(_, model)| model.trim())
        .to_owned())
}

fn load() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
