//! The Redis servers that the settings name.

use anyhow::Context;
use eventstore::RedisServers;

use crate::settings::Settings;

/// Parses the value of `REDIS_URL`, and reads `REDIS_CA_FILE`. Blocks.
pub(crate) fn servers(settings: &Settings, url: &str) -> anyhow::Result<RedisServers> {
    let read = |file: &std::path::PathBuf| {
        std::fs::read(file).with_context(|| format!("REDIS_CA_FILE {} cannot be read", file.display()))
    };
    let authorities = settings.redis_ca_file.as_ref().map(read).transpose()?;
    RedisServers::parse(url, authorities.as_deref()).context("REDIS_URL cannot be used")
}
