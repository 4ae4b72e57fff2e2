//! The hub settings from the environment, and progress bars for downloads.
//!
//! The variables are those of `huggingface_hub`: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`; and the proxy variables, `HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gratis::data::Error as DataError;
use gratis::reward_model::Hub;
use gratis_model::hub::{self, Access, DownloadObserver, HubName, HubSettings};
use gratis_model::web::Proxies;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{info, warn};

use crate::failure::CliError;

/// The hub and the cache from the environment.
pub(crate) struct EnvironmentHub;

impl Hub for EnvironmentHub {
    fn fetch(&self, name: &HubName) -> Result<PathBuf, gratis::Error> {
        let settings = settings().map_err(|error| DataError::Caller(Box::new(error)))?;
        Ok(hub::fetch(name, &settings, &mut Downloads { bar: None })?)
    }

    fn variable(&self, name: &str) -> Option<String> {
        variable(name)
    }

    fn proxies(&self) -> Proxies {
        Proxies::from_variables(variable)
    }
}

type Result<T, E = CliError> = std::result::Result<T, E>;

fn settings() -> Result<HubSettings> {
    let is_set = |name: &str| {
        let value = variable(name).unwrap_or_default().to_lowercase();
        ["1", "on", "yes", "true"].contains(&value.as_str())
    };
    let cache = cache_folder()?;
    let usual = HubSettings::new(&cache);
    Ok(HubSettings {
        token: variable("HF_TOKEN").or_else(|| token_beside(&cache)),
        endpoint: variable("HF_ENDPOINT"),
        access: if is_set("HF_HUB_OFFLINE") { Access::Offline } else { Access::Online },
        proxies: Proxies::from_variables(variable),
        silence_timeout: silence_timeout()?.unwrap_or(usual.silence_timeout),
        ..usual
    })
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else `hub` in the default folder.
fn cache_folder() -> Result<PathBuf> {
    let home = || {
        let usual = || Some(std::env::home_dir()?.join(".cache").join("huggingface"));
        variable("HF_HOME").map(PathBuf::from).or_else(usual)
    };
    let cache = variable("HF_HUB_CACHE").map(PathBuf::from);
    cache.or_else(|| Some(home()?.join("hub"))).ok_or_else(|| {
        let hint = "set it to the folder for models from a hub".to_owned();
        CliError::Missing { field: "HF_HOME", hint }
    })
}

/// The token saved by a login, beside the cache.
fn token_beside(cache: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cache.parent()?.join("token")).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// Timeout without data from the hub: `HF_HUB_DOWNLOAD_TIMEOUT`, in seconds.
fn silence_timeout() -> Result<Option<Duration>> {
    const NAME: &str = "HF_HUB_DOWNLOAD_TIMEOUT";
    let Some(given) = variable(NAME) else { return Ok(None) };
    let seconds = given.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let silence = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    silence.map(Some).ok_or_else(|| CliError::Mismatch {
        what: format!("`{NAME}` must be a positive number of seconds, got `{given}`"),
        hint: "unset it to use the default of 10 seconds",
    })
}

/// One progress bar per file on a terminal; one line per file otherwise.
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

    fn wait(&mut self, name: &str) {
        info!("another process is downloading `{name}`: waiting for it");
    }

    fn damaged(&mut self, name: &str, reason: &str) {
        warn!("`{name}` in the cache is damaged ({reason}): downloading it again");
    }
}

impl Downloads {
    fn finish(&mut self) {
        if let Some((name, bar)) = self.bar.take() {
            // A finished bar is drawn as complete.
            let (position, length) = (bar.position(), bar.length().unwrap_or_default());
            bar.finish_and_clear();
            if position >= length {
                info!("fetched `{name}`, {length} bytes");
            } else {
                info!("`{name}`: {position} of {length} bytes fetched so far");
            }
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.finish();
    }
}
