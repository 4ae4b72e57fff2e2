//! The output of training: models as Hugging Face folders, data as rollout files.

use std::path::Path;

use gratis::data::{ProblemScores, RecordWriter, Rollout};
use gratis::manifest::{self, Kind, Manifest, ReferenceModel};
use gratis::objective::Objective;
use gratis::observer::Observer;
use gratis::reward::ValueRule;
use gratis::rollout::{GradeCounts, Sampler, grade};
use gratis::selection::Aggregation;
use gratis_cpu::NativeEngine;
use gratis_engine::{SamplingSettings, Train as _};
use gratis_model::{Tokenizer, atomic};

use super::{ModelTrainer, STEP_SPLIT, TEMPLATE, encoder};
use crate::error::{Error, Result};
use crate::settings::SampleSettings;
use crate::world::{N_DERIVED, Split};

/// Longest solution with room to spare, in tokens.
pub(crate) const MAX_NEW_TOKENS: usize = 80;

impl ModelTrainer<'_> {
    /// Writes weights and tokenizer as a Hugging Face folder.
    pub(crate) fn publish(&self, engine: &NativeEngine, folder: &Path) -> Result<()> {
        atomic::write_folder(folder, |draft| {
            engine.save_weights(draft)?;
            Ok::<_, Error>(self.tokenizer.save(draft)?)
        })
    }

    /// As [`Self::publish`], with the manifest that says how to score.
    pub(crate) fn publish_reward_model(
        &self,
        engine: &NativeEngine,
        objective: Objective,
        data_hash: String,
        reference: Option<&Path>,
        folder: &Path,
    ) -> Result<()> {
        let named = |path: &Path| {
            Ok::<_, Error>(ReferenceModel {
                path: path.display().to_string(),
                hash: manifest::hash_file(&path.join("model.safetensors"))?,
            })
        };
        let manifest = Manifest {
            version: Manifest::VERSION,
            kind: Kind::Implicit { objective },
            beta: objective.beta(),
            value_rule: Some(objective.value_rule()).filter(|rule| *rule != ValueRule::Sum),
            reference: reference.map(named).transpose()?,
            step_split: STEP_SPLIT,
            aggregation: Aggregation::Min,
            template: TEMPLATE.to_owned(),
            chat: None,
            data_hash,
        };
        self.publish_with(engine, &manifest, folder)
    }

    /// As [`Self::publish`], for a baseline.
    pub(crate) fn publish_baseline(
        &self,
        engine: &NativeEngine,
        kind: Kind,
        data_hash: String,
        folder: &Path,
    ) -> Result<()> {
        let of_steps = match &kind {
            Kind::Head { objective, .. } => objective.needs_step_labels(),
            _ => true,
        };
        let manifest = Manifest {
            version: Manifest::VERSION,
            kind,
            beta: 1.0,
            value_rule: None,
            reference: None,
            step_split: STEP_SPLIT,
            aggregation: if of_steps { Aggregation::QMin } else { Aggregation::Outcome },
            template: TEMPLATE.to_owned(),
            chat: None,
            data_hash,
        };
        self.publish_with(engine, &manifest, folder)
    }

    fn publish_with(
        &self,
        engine: &NativeEngine,
        manifest: &Manifest,
        folder: &Path,
    ) -> Result<()> {
        atomic::write_folder(folder, |draft| {
            engine.save_weights(draft)?;
            self.tokenizer.save(draft)?;
            Ok(atomic::write(&draft.join(Manifest::FILE_NAME), &manifest.to_bytes())?)
        })
    }
}

/// Samples and grades solutions of new problems of a split.
pub(crate) fn sample(
    engine: &mut NativeEngine,
    tokenizer: &Tokenizer,
    split: Split,
    settings: &SampleSettings,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<(Vec<Rollout>, GradeCounts)> {
    let problems = split.unsolved(&split.draw(settings.n_problems, N_DERIVED, seed));
    let encoder = encoder(tokenizer, engine)?;
    let stop_tokens = vec![encoder.end_token()?];
    let sampler = Sampler {
        engine,
        encoder,
        settings: SamplingSettings {
            temperature: settings.temperature,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: MAX_NEW_TOKENS,
            stop_tokens,
            seed,
        },
        n_samples: settings.n_samples,
        provenance: serde_json::json!({ "temperature": settings.temperature, "seed": seed }),
    };
    let mut rollouts = sampler.sample(&problems, 0, observer)?;
    let mut counts = GradeCounts::default();
    for rollout in &mut rollouts {
        for completion in &mut rollout.completions {
            completion.token_ids = None;
            // The tables were made with an end token after every sample, those cut off too.
            completion.finish_reason = None;
        }
        grade(rollout, &gratis_grading::Options::default(), &mut counts);
    }
    Ok((rollouts, counts))
}

/// Writes a rollout file.
pub(crate) fn write_rollouts(path: &Path, rollouts: &[Rollout]) -> Result<()> {
    let mut writer = RecordWriter::create(path)?;
    writer.write_all(rollouts.to_vec())?;
    Ok(writer.finish()?)
}

/// Writes a score file.
pub(crate) fn write_scores(path: &Path, scores: &[ProblemScores]) -> Result<()> {
    let mut writer = RecordWriter::create(path)?;
    writer.write_all(scores.to_vec())?;
    Ok(writer.finish()?)
}
