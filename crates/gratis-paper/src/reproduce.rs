//! Runs experiments one after the other and writes their report.

use std::path::Path;

use gratis::observer::Observer;

use crate::cache::Cache;
use crate::error::Result;
use crate::experiments::Experiment;
use crate::experiments::tuning::{self, Tuning};
use crate::pages::{self, Finished};
use crate::settings::Settings;

/// Where a reproduction keeps and writes its files.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The cache: models, samples, labels, evaluations.
    pub cache: &'a Path,
    /// The report.
    pub report: &'a Path,
}

/// Runs experiments, each once, and writes the report after each, so that it can be read while the
/// rest runs.
///
/// # Errors
/// Those of the experiments and of the file system.
pub fn reproduce(
    settings: Settings,
    experiments: &[Experiment],
    folders: Folders<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Finished>> {
    let mut once: Vec<Experiment> = Vec::new();
    for experiment in experiments {
        if !once.contains(experiment) {
            once.push(*experiment);
        }
    }
    let n_experiments = once.len();
    let mut cache = Cache::new(settings, folders.cache, observer)?;
    let mut finished = Vec::new();
    for (idx, experiment) in once.into_iter().enumerate() {
        let (n_found, n_made) = (cache.store.n_found, cache.store.n_made);
        let number = idx + 1;
        let part = format!("{number} of {n_experiments}, {}", experiment.name());
        cache.begin_part(part.clone());
        let outcome = experiment.run(&mut cache)?;
        cache.begin_part(part);
        cache.observer.stage("report", None);
        finished.push(Finished { experiment, outcome });
        pages::write(folders.report, &finished)?;
        cache.observer.note(&format!(
            "{number} of {n_experiments}: {} done, {} artefacts made, {} found in the cache",
            experiment.name(),
            cache.store.n_made - n_made,
            cache.store.n_found - n_found,
        ));
    }
    Ok(finished)
}

/// Tries beta and learning rate of every objective and baseline on validation problems.
///
/// # Errors
/// Those of training and evaluating.
pub fn tune(settings: Settings, cache: &Path, observer: &mut dyn Observer) -> Result<Tuning> {
    let mut cache = Cache::new(settings, cache, observer)?;
    cache.begin_part("tuning".to_owned());
    tuning::run(&mut cache, 0)
}
