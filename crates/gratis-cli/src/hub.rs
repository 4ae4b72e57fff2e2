//! The hub as the environment describes it, and downloads as bars.
//!
//! Read are the variables that `huggingface_hub` reads: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_HUB_OFFLINE`.

use std::path::PathBuf;

use anyhow::Result;
use gratis_model::hub::{self, Access, DownloadObserver, HubName, HubSettings};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;

/// The folder of a model, downloaded if it is not in the cache.
pub(crate) fn fetch(name: &HubName) -> Result<PathBuf> {
    Ok(hub::fetch(name, &settings(), &mut Downloads { bar: None })?)
}

fn settings() -> HubSettings {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_set = |name: &str| {
        let value = variable(name).unwrap_or_default().to_lowercase();
        ["1", "on", "yes", "true"].contains(&value.as_str())
    };
    HubSettings {
        cache: variable("HF_HUB_CACHE").map(PathBuf::from),
        endpoint: variable("HF_ENDPOINT"),
        token: variable("HF_TOKEN"),
        access: if is_set("HF_HUB_OFFLINE") { Access::Offline } else { Access::Online },
    }
}

/// A bar a file, where someone looks; a line otherwise.
struct Downloads {
    bar: Option<(String, ProgressBar)>,
}

impl DownloadObserver for Downloads {
    fn file(&mut self, name: &str, n_bytes: u64) {
        if let Some((last, bar)) = &self.bar
            && last == name
        {
            bar.set_position(0);
            return;
        }
        self.finish();
        let bar = ProgressBar::hidden();
        bar.set_length(n_bytes);
        let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        if tracing::enabled!(tracing::Level::INFO) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar = Some((name.to_owned(), bar));
    }

    fn advance(&mut self, n_bytes: u64) {
        if let Some((_, bar)) = &self.bar {
            bar.inc(n_bytes);
        }
    }
}

impl Downloads {
    fn finish(&mut self) {
        if let Some((name, bar)) = self.bar.take() {
            bar.finish_and_clear();
            let (position, length) = (bar.position(), bar.length().unwrap_or_default());
            if position >= length {
                info!("fetched `{name}`, {length} bytes");
            } else {
                info!("`{name}`: {position} of {length} bytes are there");
            }
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.finish();
    }
}
