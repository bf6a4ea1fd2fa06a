//! What is kept of a run: files found by patterns, or archives of them, sent in parts that need not be sent twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use globset::{GlobBuilder, GlobMatcher};
use http::StatusCode;
use model::run::{ARTIFACT_PART_BYTES, ArtifactPattern, Presigned, RunLimits};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::callback::{Callback, FILE_EXCHANGE_MAX, segment};
use crate::folder::Folder;
use crate::journal::Journal;

/// How deep files are looked for.
const DEPTH_MAX: usize = 64;
/// How many files and folders are looked at.
const LOOKED_AT_MAX: usize = 200_000;
/// How long it may take to send everything; what its task gives a run beside its steps is a little more.
const KEEP_MAX: Duration = Duration::from_secs(12 * 60);
/// How often it is said what is in the way.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How often a file is sent that does not arrive as it was.
const SENT_MAX: usize = 3;

/// A file that is to be kept.
struct Kept<'a> {
    name: String,
    path: PathBuf,
    pattern: &'a ArtifactPattern,
}

/// Parts that are there already.
#[derive(Deserialize)]
struct Parts {
    parts: Vec<u64>,
}

/// What was kept.
#[derive(Deserialize)]
struct Stored {
    sha256: String,
}

/// Sends what is to be kept. Returns the SHA-256 of each by its name, and what is wrong with the rest.
pub(crate) async fn keep(
    folder: &Folder,
    patterns: &[ArtifactPattern],
    limits: &RunLimits,
    whole: bool,
    callback: &Callback,
    journal: &Journal,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut kept = BTreeMap::new();
    let mut problems = Vec::new();
    if patterns.is_empty() {
        return (kept, problems);
    }
    let files = match files(folder, patterns, whole, &mut problems) {
        Ok(files) => files,
        Err(error) => {
            problems.push(format!("what is to be kept could not be found: {error:#}"));
            return (kept, problems);
        }
    };
    let end = Instant::now() + KEEP_MAX;
    let most = usize::try_from(limits.artifacts).unwrap_or(usize::MAX);
    if files.len() > most {
        problems.push(format!(
            "{} files are to be kept, and {most} may be: the first are",
            files.len()
        ));
    }
    for file in files.into_iter().take(most) {
        if journal.over.is_cancelled() {
            break;
        }
        let sending = send(&file, limits, callback, &journal.over);
        let sent = tokio::time::timeout_at(end, saying(sending, &file.name, callback, journal));
        match sent.await.unwrap_or_else(|_| Err(too_late(callback))) {
            Ok(sha256) => {
                kept.insert(file.name, sha256);
            }
            Err(error) => problems.push(format!("{:?} could not be kept: {error:#}", file.name)),
        }
    }
    (kept, problems)
}

/// Says what is in the way while something takes long.
async fn saying<T>(
    work: impl Future<Output = T>,
    name: &str,
    callback: &Callback,
    journal: &Journal,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(SAY_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                if let Some(why) = callback.last_away() {
                    let said = format!("{name:?} is not kept yet, and tried again: {why}");
                    journal.say(&said).await;
                }
            }
        }
    }
}

fn too_late(callback: &Callback) -> anyhow::Error {
    let why = callback
        .last_away()
        .unwrap_or_else(|| "it is slow".to_owned());
    anyhow::anyhow!(
        "that was tried for {} minutes: {why}",
        KEEP_MAX.as_secs() / 60
    )
}

/// The files that the patterns find, each once, in a fixed order; archives are made.
fn files<'a>(
    folder: &Folder,
    patterns: &'a [ArtifactPattern],
    whole: bool,
    problems: &mut Vec<String>,
) -> anyhow::Result<Vec<Kept<'a>>> {
    let work = folder.work();
    let mut all = Vec::new();
    let mut looked_at = 0;
    walk(folder, Path::new(""), 0, &mut looked_at, &mut all)?;
    all.sort();
    let mut kept: BTreeMap<String, Kept<'a>> = BTreeMap::new();
    for pattern in patterns {
        let glob = glob(&pattern.pattern)?;
        let found: Vec<&String> = all.iter().filter(|path| glob.is_match(path)).collect();
        if found.is_empty() {
            if pattern.required && whole {
                problems.push(format!(
                    "no file matches {:?}, and one must",
                    pattern.pattern
                ));
            }
            continue;
        }
        if let Some(name) = &pattern.archive {
            let path = folder.made().join(format!("{}.tar", kept.len()));
            archive(&work, &found, &path)?;
            kept.insert(
                name.clone(),
                Kept {
                    name: name.clone(),
                    path,
                    pattern,
                },
            );
            continue;
        }
        let one = found.len() == 1;
        for path in found {
            let name = match &pattern.name {
                Some(name) if one => name.clone(),
                _ => path.clone(),
            };
            // Of two patterns that find one file the first counts.
            kept.entry(name.clone()).or_insert_with(|| Kept {
                name,
                path: work.join(path),
                pattern,
            });
        }
    }
    Ok(kept.into_values().collect())
}

fn glob(pattern: &str) -> anyhow::Result<GlobMatcher> {
    Ok(GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .with_context(|| format!("{pattern:?} is no pattern"))?
        .compile_matcher())
}

/// Files below the run's folder that are the run's own. Links are not followed: they may lead anywhere.
fn walk(
    folder: &Folder,
    below: &Path,
    depth: usize,
    looked_at: &mut usize,
    found: &mut Vec<String>,
) -> anyhow::Result<()> {
    if depth > DEPTH_MAX {
        bail!("the run's folder is deeper than {DEPTH_MAX}");
    }
    for entry in std::fs::read_dir(folder.work().join(below))? {
        let entry = entry?;
        *looked_at += 1;
        if *looked_at > LOOKED_AT_MAX {
            bail!("the run's folder holds more than {LOOKED_AT_MAX} files");
        }
        let kind = entry.file_type()?;
        let path = below.join(entry.file_name());
        if kind.is_dir() {
            walk(folder, &path, depth + 1, looked_at, found)?;
        } else if kind.is_file()
            && let Some(path) = path.to_str()
        {
            // A hard link to somebody else's file would be his.
            let owner = entry.metadata()?.uid();
            if folder.user().is_none_or(|user| user.uid == owner) {
                found.push(path.to_owned());
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> std::io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    File::options()
        .read(true)
        .custom_flags(no_follow)
        .open(path)
}

/// The same files give the same bytes, whenever and by whomever they were made.
fn archive(work: &Path, paths: &[&String], to: &Path) -> anyhow::Result<()> {
    let mut tar = tar::Builder::new(File::create(to)?);
    for path in paths {
        let file = open(&work.join(path))?;
        let about = file.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_size(about.len());
        header.set_mode(if about.permissions().mode() & 0o111 == 0 {
            0o644
        } else {
            0o755
        });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, file.take(about.len()))?;
    }
    tar.into_inner()?;
    Ok(())
}

async fn send(
    file: &Kept<'_>,
    limits: &RunLimits,
    callback: &Callback,
    over: &CancellationToken,
) -> anyhow::Result<String> {
    for _ in 0..SENT_MAX {
        let (bytes, sha256) = measure(&file.path)?;
        if bytes > limits.artifact_bytes {
            bail!(
                "it has {bytes} bytes, more than the {} that one may have",
                limits.artifact_bytes
            );
        }
        let place = match &file.pattern.presigned {
            Some(presigned) => put(presigned, &file.path, bytes, callback).await?,
            None => {
                let parts = send_parts(file, bytes, callback, over).await?;
                json!({ "parts": parts })
            }
        };
        let mut said = json!({
            "bytes": bytes,
            "sha256": sha256,
            "media_type": media_type(file),
            "sealed": file.pattern.sealed,
        });
        if let (Some(said), Some(place)) = (said.as_object_mut(), place.as_object()) {
            said.extend(place.clone());
        }
        let path = format!("run/artifacts/{}", segment(&file.name));
        let answer = callback.post(&path, &said, FILE_EXCHANGE_MAX).await?;
        match answer.status {
            StatusCode::OK => {
                let stored: Stored = answer.json()?;
                if stored.sha256 != sha256 {
                    bail!(
                        "it was kept with the SHA-256 {}, not {sha256}",
                        stored.sha256
                    );
                }
                return Ok(sha256);
            }
            // It did not arrive as it was, and what did is gone.
            StatusCode::UNPROCESSABLE_ENTITY => {
                tracing::warn!("{:?} is sent again: {}", file.name, answer.text());
            }
            _ => bail!("{}", answer.text()),
        }
    }
    bail!("it was sent {SENT_MAX} times and never arrived as it was")
}

fn media_type(file: &Kept<'_>) -> String {
    file.pattern.media_type.clone().unwrap_or_else(|| {
        mime_guess::from_path(&file.name)
            .first_or_octet_stream()
            .to_string()
    })
}

fn measure(path: &Path) -> anyhow::Result<(u64, String)> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        bytes += read as u64;
        hash.update(&buffer[..read]);
    }
}

/// Sends the parts that are not there yet. Returns how many there are.
async fn send_parts(
    file: &Kept<'_>,
    bytes: u64,
    callback: &Callback,
    over: &CancellationToken,
) -> anyhow::Result<u64> {
    // An empty file has none: a part has something in it.
    let parts = bytes.div_ceil(ARTIFACT_PART_BYTES as u64);
    let path = format!("run/artifacts/{}/parts", segment(&file.name));
    let asked = format!("{path}?bytes={bytes}&sealed={}", file.pattern.sealed);
    let there = callback.get(&asked).await?;
    let there = match there.status {
        StatusCode::OK => there.json::<Parts>()?.parts,
        _ => bail!("{}", there.text()),
    };
    let mut content = open(&file.path)?;
    for part in 0..parts {
        if over.is_cancelled() {
            bail!("the run is over");
        }
        let mut piece = Vec::new();
        (&mut content)
            .take(ARTIFACT_PART_BYTES as u64)
            .read_to_end(&mut piece)?;
        if there.contains(&part) {
            continue;
        }
        let answer = callback
            .put(&format!("{path}/{part}"), Bytes::from(piece))
            .await?;
        if !answer.status.is_success() {
            bail!("{}", answer.text());
        }
    }
    Ok(parts)
}

async fn put(
    presigned: &Presigned,
    path: &Path,
    bytes: u64,
    callback: &Callback,
) -> anyhow::Result<serde_json::Value> {
    let url = presigned
        .url
        .parse()
        .context("the place where it is put is no URL")?;
    let answer = callback.put_file(&url, path, bytes).await?;
    if !answer.status.is_success() {
        bail!(
            "the place where it is put answered {}",
            answer.status.as_u16()
        );
    }
    Ok(json!({ "blob": presigned.blob }))
}
