//! The second stage of appendix C.2: an implicit model trained further on step labels.

use gratis_cpu::NativeEngine;
use serde_json::json;

use super::{InferenceReference, Judgement, Lab, RECORD, Recipe, record, store};
use crate::experiment::workshop::{self, Workshop};
use crate::world::Strength;
use gratis::error::Result;
use gratis::objective::step_kto::Magnitude;
use gratis::objective::{Objective, StepKto};
use gratis::training::reward_data;

impl Lab<'_> {
    /// An implicit model of `recipe`, trained further on Math-Shepherd's hard labels (appendix
    /// C.2), judged.
    ///
    /// # Errors
    /// Those of training and judging.
    pub fn judge_second_stage(
        &mut self,
        seed: u64,
        recipe: &Recipe,
        magnitude: Magnitude,
    ) -> Result<Judgement> {
        let first = self.reward_model(seed, recipe)?;
        let start = self.generator(seed, Strength::Medium)?;
        let labels = self.step_labels(seed)?;
        let rollouts = self.rollouts(&labels)?;
        let beta = recipe.objective.beta();
        let objective = Objective::StepKto(StepKto { beta, magnitude });
        let learning = self.learning(&Recipe { objective, ..recipe.clone() });
        let key = json!({ "first": store::name(&first), "labels": store::name(&labels),
                          "objective": objective, "learning": learning, "seed": seed });
        let options = self.options();
        let (tokenizer, observer) = (&self.tokenizer, &mut *self.observer);
        let model = self.store.folder("reward", &key, |draft| {
            let mut policy = NativeEngine::load(&first, options)?;
            let mut reference = NativeEngine::load(&start, options)?;
            let labelled = reward_data(&rollouts, &workshop::encoder(tokenizer, &policy)?)?;
            let (data_hash, n_units) = (labelled.digest(), labelled.examples.len());
            let workshop = Workshop { tokenizer, seed };
            let before = observer.processor_seconds();
            let training = workshop.train_reward_model(
                &mut policy,
                Some(&mut reference),
                objective,
                labelled,
                &learning,
                observer,
            )?;
            let record = record(training, n_units, before, observer);
            workshop.publish_reward_model(&policy, objective, data_hash, Some(&start), draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })?;
        self.judge_model(seed, &model, beta, InferenceReference::Start)
    }
}
