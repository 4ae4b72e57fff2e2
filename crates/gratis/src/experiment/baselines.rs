//! The comparison of the paper (section 4.2, table 1) in the tiny world: implicit process reward
//! models against baselines that had the same data and the same tuning.
//!
//! For a seed, a base and three generators are made as in the demo; the medium generator's graded
//! rollouts are what every reward model learns from, in one pass. A [`Recipe`] is a row: its form, its
//! labels, and three configurations, of which the best on validation problems is kept. What is
//! reported is measured on test problems. Rows are appended to a file as they come, and those that
//! are there are not done again.

mod depth;
mod judge;
mod recipe;
mod train;

use std::path::{Path, PathBuf};

use gratis_engine::{NativeEngine, NativeOptions, SamplingSettings, Tokenizer};
use serde::{Deserialize, Serialize};

use super::demo::DemoSettings;
use super::workshop::{self, DrawSettings, Workshop, draw, write_rollouts};
use crate::annotate::{AnnotationCounts, LabelKind, MonteCarlo};
use crate::data::{OnInvalid, Rollout, RolloutReader};
use crate::error::{Error, Result};
use crate::observer::{Observer, Silent};
use crate::world::{Author, Split, Strength};

pub use depth::{Trunk, classic_head_on};
pub use judge::{LabelQuality, Measured, Signal, label_quality};
pub use recipe::{Configuration, Form, Labels, Recipe, recipes};
pub(in crate::experiment) use train::Model;

/// What is compared on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonSettings {
    /// Seed of everything.
    pub seed: u64,
    /// Threads that compute.
    pub n_threads: usize,
    /// Rollouts to learn from.
    pub train: DrawSettings,
    /// Candidates of each generator to choose configurations, aggregations and thresholds on.
    pub validation: DrawSettings,
    /// Candidates of each generator to report on.
    pub test: DrawSettings,
    /// Values of N on the test problems.
    pub ns: Vec<usize>,
    /// Continuations of a step prefix.
    pub n_continuations: usize,
}

impl Default for ComparisonSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            n_threads: 2,
            train: DrawSettings { n_problems: 1000, n_samples: 8, temperature: 1.0 },
            validation: DrawSettings { n_problems: 100, n_samples: 16, temperature: 0.7 },
            test: DrawSettings { n_problems: 100, n_samples: 64, temperature: 0.7 },
            ns: vec![4, 16, 64],
            n_continuations: 8,
        }
    }
}

/// A row of the comparison for one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The recipe's name.
    pub name: String,
    /// The configuration that was chosen.
    pub configuration: Configuration,
    /// What was measured.
    pub measured: Measured,
}

/// The cast of one seed and its data.
pub(in crate::experiment) struct Stage<'a> {
    pub(in crate::experiment) settings: &'a ComparisonSettings,
    pub(in crate::experiment) tokenizer: &'a Tokenizer,
    pub(in crate::experiment) options: NativeOptions,
    /// The generator that wrote the training data: start and reference of every reward model.
    pub(in crate::experiment) medium: PathBuf,
    /// With step labels by Monte Carlo, soft.
    pub(in crate::experiment) train: Vec<Rollout>,
    /// By generator.
    pub(in crate::experiment) validation: Vec<Vec<Rollout>>,
    /// By generator.
    pub(in crate::experiment) test: Vec<Vec<Rollout>>,
}

/// Runs the comparison for one seed in `folder`. `chosen` names the configuration of a recipe where
/// it was chosen before, on another seed; it is then not tuned again.
///
/// # Errors
/// Those of the engine, of training and of files.
pub fn run(
    settings: &ComparisonSettings,
    recipes: &[Recipe],
    chosen: &dyn Fn(&str) -> Option<Configuration>,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<Vec<Row>> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let tokenizer = workshop::tokenizer()?;
    let stage = prepare(settings, &tokenizer, folder, observer)?;
    let path = folder.join("rows.json");
    let mut rows: Vec<Row> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::InvalidFile {
            path: path.clone(),
            expected: "rows of a comparison".to_owned(),
            got: error.to_string(),
        })?,
        Err(_) => Vec::new(),
    };
    for recipe in recipes {
        if rows.iter().any(|row| row.name == recipe.name) {
            continue;
        }
        observer.stage(&recipe.name, None);
        let (configuration, measured) =
            judge::judge(&stage, recipe, chosen(&recipe.name), observer)?;
        observer.note(&format!("{}: {}", recipe.name, measured.summary()));
        rows.push(Row { name: recipe.name.clone(), configuration, measured });
        let text = serde_json::json!(rows).to_string();
        gratis_engine::atomic::write(&path, text.as_bytes())?;
    }
    Ok(rows)
}

/// Models and data, made or read from where an earlier run left them.
fn prepare<'a>(
    settings: &'a ComparisonSettings,
    tokenizer: &'a Tokenizer,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<Stage<'a>> {
    let options = NativeOptions { n_threads: settings.n_threads, ..NativeOptions::default() };
    let demo = DemoSettings::default();
    let workshop = Workshop { tokenizer, seed: settings.seed };
    let model = |name: &str| folder.join(name);
    if !model("base").exists() {
        let shape = workshop::shape(tokenizer);
        let mut base =
            NativeEngine::initialise(shape, workshop::INITIALISATION, settings.seed, options)?;
        workshop.train_base(&mut base, &demo.base, observer)?;
        workshop.publish(&base, &model("base"))?;
    }
    for strength in Strength::ALL {
        if !model(strength.name()).exists() {
            let mut generator = NativeEngine::load(&model("base"), options)?;
            let author = Author::new(strength, settings.seed);
            let learning = &demo.generators;
            workshop.train_generator(&mut generator, strength, &author, learning, observer)?;
            workshop.publish(&generator, &model(strength.name()))?;
        }
    }

    let medium = model(Strength::Medium.name());
    let labelled = folder.join("train.jsonl");
    if !labelled.exists() {
        let mut generator = NativeEngine::load(&medium, options)?;
        observer.stage("rollouts", None);
        let (rollouts, _) = draw(
            &mut generator,
            tokenizer,
            Split::Train,
            &settings.train,
            settings.seed,
            &mut Silent,
        )?;
        observer.stage("continuations", None);
        let (rollouts, counts) = continue_prefixes(settings, tokenizer, &mut generator, &rollouts)?;
        let text = serde_json::json!(counts).to_string();
        gratis_engine::atomic::write(&folder.join("continuations.json"), text.as_bytes())?;
        write_rollouts(&labelled, &rollouts)?;
    }
    let mut candidates = |split: Split, draws: &DrawSettings| -> Result<Vec<Vec<Rollout>>> {
        let of_strength = |strength: Strength| {
            let path = folder.join(format!("{}-{}.jsonl", split.name(), strength.name()));
            if !path.exists() {
                observer.stage(&format!("generation, {} {}", split.name(), strength.name()), None);
                let mut generator = NativeEngine::load(&model(strength.name()), options)?;
                let seed = settings.seed;
                let (rollouts, _) =
                    draw(&mut generator, tokenizer, split, draws, seed, &mut Silent)?;
                write_rollouts(&path, &rollouts)?;
            }
            read(&path)
        };
        Strength::ALL.into_iter().map(of_strength).collect()
    };
    let validation = candidates(Split::Validation, &settings.validation)?;
    let test = candidates(Split::Test, &settings.test)?;
    let train = read(&labelled)?;
    Ok(Stage { settings, tokenizer, options, medium, train, validation, test })
}

/// Soft Monte-Carlo labels for all steps.
pub(in crate::experiment) fn continue_prefixes(
    settings: &ComparisonSettings,
    tokenizer: &Tokenizer,
    generator: &mut NativeEngine,
    rollouts: &[Rollout],
) -> Result<(Vec<Rollout>, AnnotationCounts)> {
    let encoder = workshop::encoder(tokenizer, generator)?;
    let sampling = SamplingSettings {
        temperature: settings.train.temperature,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: workshop::MAX_NEW_TOKENS,
        stop_tokens: vec![encoder.end_token()?],
        seed: settings.seed,
    };
    let mut monte_carlo = MonteCarlo {
        engine: generator,
        encoder,
        sampling,
        n_continuations: settings.n_continuations,
        labels: LabelKind::Soft,
        step_split: workshop::STEP_SPLIT,
        grading: gratis_grading::Options::default(),
    };
    let (mut labelled, mut counts) = (Vec::new(), AnnotationCounts::default());
    for (chunk, first) in rollouts.chunks(100).zip((0..).step_by(100)) {
        let (rollouts, of_chunk) = monte_carlo.annotate(chunk, first, &mut Silent)?;
        labelled.extend(rollouts);
        counts.add(&of_chunk);
    }
    counts.check()?;
    Ok((labelled, counts))
}

fn read(path: &Path) -> Result<Vec<Rollout>> {
    RolloutReader::open(path, OnInvalid::Stop)?.collect()
}
