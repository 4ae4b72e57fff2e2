//! Runs experiments one after the other and writes their report.

use std::path::Path;

use gratis::observer::Observer;

use crate::cache::Cache;
use crate::cache::store::Store;
use crate::error::Result;
use crate::experiments::Experiment;
use crate::experiments::tuning::{self, Tuning};
use crate::outcome::Outcome;
use crate::own::{CastFile, Machine, OwnCast, Plan};
use crate::pages::{self, Finished, Heading};
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
    let mut cache = Cache::new(settings, folders.cache, observer)?;
    cache.begin_part("base models".to_owned());
    cache.choose_seeds()?;
    run_all(&mut cache, experiments, folders.report)
}

/// The same on a cast that a file names. An experiment that cannot run on it is left out with a note; of
/// one that was asked for by name, that is an error.
///
/// # Errors
/// [`crate::Error::NeedsTinyWorld`]; those of the cast, the experiments and the file system.
pub fn reproduce_on(
    file: &CastFile,
    machine: Machine<'_>,
    experiments: &[Experiment],
    folders: Folders<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Finished>> {
    let mut cast = OwnCast::new(file, machine, folders.cache, observer)?;
    run_all(&mut cast, experiments, folders.report)
}

/// What [`reproduce_on`] would compute, with tokens, operations, memory and time. Nothing is trained,
/// sampled or scored but one short pass that measures the rate.
///
/// # Errors
/// As [`reproduce_on`].
pub fn plan_on(
    file: &CastFile,
    machine: Machine<'_>,
    experiments: &[Experiment],
    cache: &Path,
    observer: &mut dyn Observer,
) -> Result<Plan> {
    let mut cast = OwnCast::planning(file, machine, cache, observer)?;
    for experiment in once_each(experiments) {
        cast.begin_part(experiment.name().to_owned());
        experiment.run_on(&mut cast)?;
    }
    cast.finish_plan()
}

/// Where experiments run.
trait Stage {
    fn begin_part(&mut self, part: String);
    fn run(&mut self, experiment: Experiment) -> Result<Outcome>;
    fn store(&self) -> &Store;
    fn observer(&mut self) -> &mut dyn Observer;
    fn heading(&self) -> Heading;
}

impl Stage for Cache<'_> {
    fn begin_part(&mut self, part: String) {
        Cache::begin_part(self, part);
    }

    fn run(&mut self, experiment: Experiment) -> Result<Outcome> {
        experiment.run(self)
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    fn heading(&self) -> Heading {
        Heading::tiny_world()
    }
}

impl Stage for OwnCast<'_> {
    fn begin_part(&mut self, part: String) {
        OwnCast::begin_part(self, part);
    }

    fn run(&mut self, experiment: Experiment) -> Result<Outcome> {
        experiment.run_on(self)
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    fn heading(&self) -> Heading {
        Heading { title: self.title(), markdown_title: self.title(), lead: self.lead() }
    }
}

fn once_each(experiments: &[Experiment]) -> Vec<Experiment> {
    let mut once: Vec<Experiment> = Vec::new();
    for experiment in experiments {
        if !once.contains(experiment) {
            once.push(*experiment);
        }
    }
    once
}

fn run_all(
    stage: &mut dyn Stage,
    experiments: &[Experiment],
    report: &Path,
) -> Result<Vec<Finished>> {
    let once = once_each(experiments);
    let n_experiments = once.len();
    let mut finished = Vec::new();
    for (idx, experiment) in once.into_iter().enumerate() {
        let (n_found, n_made) = (stage.store().n_found, stage.store().n_made);
        let number = idx + 1;
        let part = format!("{number} of {n_experiments}, {}", experiment.name());
        stage.begin_part(part.clone());
        let outcome = stage.run(experiment)?;
        stage.begin_part(part);
        stage.observer().stage("report", None);
        finished.push(Finished { experiment, outcome });
        pages::write(report, &stage.heading(), &finished)?;
        let note = format!(
            "{number} of {n_experiments}: {} done, {} artefacts made, {} found in the cache",
            experiment.name(),
            stage.store().n_made - n_made,
            stage.store().n_found - n_found,
        );
        stage.observer().note(&note);
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
