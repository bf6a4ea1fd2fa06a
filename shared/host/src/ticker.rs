//! A reconciler's tick beside its clock: a person asked for it, and waits.

use std::sync::Arc;
use std::time::Duration;

use events::{Message, encode_binary};
use url::Url;
use uuid::Uuid;

use crate::{Ctx, Env, SettingsError};

/// A reconciler elsewhere that can be asked to look now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ticker(Option<Arc<Url>>);

impl Ticker {
    /// By the setting that has its address; without it there is only its clock.
    ///
    /// # Errors
    /// When the setting is no address.
    pub fn of(env: &Env, setting: &'static str) -> Result<Self, SettingsError> {
        let Some(text) = env.get(setting).filter(|text| !text.is_empty()) else {
            return Ok(Self(None));
        };
        let url = Url::parse(text).map_err(|error| SettingsError::wrong(setting, error))?;
        Ok(Self(Some(Arc::new(url))))
    }

    /// Lets it look now, and waits for the end of that, at most for `wait`. Who does not answer looks with the next tick of its
    /// clock.
    pub async fn tick(&self, ctx: &Ctx, wait: Duration) {
        let Some(url) = &self.0 else { return };
        let id = Uuid::now_v7().to_string();
        let source = format!("/switchyard/{}", ctx.function());
        let tick = Message::new(id, &source, "dev.switchyard.tick.v1")
            .expect("constants, an id and a function's name are attributes");
        let (headers, body) = encode_binary(&tick);
        match ctx.http().post(url, headers, body, wait).await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                tracing::info!(status = answer.status().as_u16(), "a tick was not taken on");
            }
            Err(error) => {
                let error = error.without_url();
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "a tick was not waited for"
                );
            }
        }
    }
}
