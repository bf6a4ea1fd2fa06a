//! What the time of a refusal tells: a push to a trigger that is there, signed with another trigger's secret, beside the same push
//! to a trigger that nobody has.

use std::path::Path;
use std::time::{Duration, Instant};

use model::TriggerId;
use rand::seq::SliceRandom as _;
use uuid::Uuid;

use crate::load::Client;
use crate::machine::Data;
use crate::push::Push;
use crate::report::Figure;
use crate::stats::{Samples, ms};

/// Tries of each kind.
const TRIES: usize = 10_000;
/// Before them, not counted.
const WARM: usize = 500;
/// How often the tries of one kind are halved at random, to see by how much tries of one kind differ.
const HALVINGS: usize = 200;

/// Measures it.
pub async fn measure(folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let data = Data::new(folder)?;
    let machine = data.start().await?;
    let (_, known) = data.trigger("timing").await?;
    let unknown = TriggerId::from(Uuid::now_v7());
    let push = Push::signed_with("the secret of another trigger")?;
    let paths = [known, unknown].map(|trigger| format!("/webhook-github/{trigger}"));
    let mut client = Client::connect(machine.addr).await?;
    let mut times = [Vec::with_capacity(TRIES), Vec::with_capacity(TRIES)];
    // In an order that nothing else has.
    let mut kinds: Vec<usize> = (0..2 * (WARM + TRIES)).map(|n| n % 2).collect();
    kinds[2 * WARM..].shuffle(&mut rand::rng());
    for (at, kind) in kinds.into_iter().enumerate() {
        let request = push.request(&paths[kind]);
        let from = Instant::now();
        let answer = client.send(request).await?;
        let took = from.elapsed();
        anyhow::ensure!(answer.status() == 401, "answered {}", answer.status());
        if at >= 2 * WARM {
            times[kind].push(took);
        }
    }
    drop(client);
    machine.stop().await?;
    let noise = times
        .iter()
        .map(|kind| noise(kind))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let noise = noise.into_iter().max().unwrap_or_default();
    let [known, unknown] = times.map(Samples::new);
    let (known, unknown) = (known?, unknown?);
    let difference = known.p50().abs_diff(unknown.p50());
    Ok(vec![
        Figure::at_most(
            "timing",
            "refused: another trigger's secret, beside no such trigger, over the noise",
            difference.as_secs_f64() / noise.as_secs_f64(),
            1.0,
        )
        .showing(us(difference), us(noise))
        .noting(format!(
            "difference of the medians ({} and {}) of {TRIES} tries of each kind in a random order over one connection on loopback; \
             noise is the difference of the medians of two halves of one kind that 99 of 100 halvings do not exceed",
            ms(known.p50()),
            ms(unknown.p50())
        )),
    ])
}

/// By how much the medians of two random halves of the same tries differ.
fn noise(times: &[Duration]) -> anyhow::Result<Duration> {
    let mut times = times.to_vec();
    let mut differences = Vec::with_capacity(HALVINGS);
    for _ in 0..HALVINGS {
        times.shuffle(&mut rand::rng());
        let (one, other) = times.split_at(times.len() / 2);
        let (one, other) = (Samples::new(one.to_vec())?, Samples::new(other.to_vec())?);
        differences.push(one.p50().abs_diff(other.p50()));
    }
    Ok(Samples::new(differences)?.percentile(99.0))
}

fn us(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}
