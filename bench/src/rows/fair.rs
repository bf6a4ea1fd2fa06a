//! Fairness: how soon a tenant's one job starts beside a flood, how equal equal tenants are, whether caps are exact, and what
//! it costs.

mod caps;
mod cost;
mod shares;
mod starts;

use crate::ground::Place;
use crate::report::Figure;

/// Measures it.
pub async fn measure(place: Place<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = starts::measure(place).await?;
    figures.extend(shares::measure(place).await?);
    figures.extend(caps::measure(place).await?);
    figures.extend(cost::measure(place).await?);
    Ok(figures)
}
