//! What selecting among candidates costs (table 3): the reward model's pass over them, and the
//! reference's, measured generator by generator.

use std::path::Path;

use gratis_cpu::NativeEngine;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Lab, since, store};
use crate::world::Strength;
use gratis::error::Result;

/// Processor seconds of passes over one generator's candidates, copies once and prompts shared, the
/// model's loading included; where somebody measured them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InferenceTimes {
    /// The reward model's.
    pub reward: Option<f64>,
    /// The reference's.
    pub reference: Option<f64>,
}

impl Lab<'_> {
    /// The times of `model` and of the medium generator, its reference.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn inference_times(
        &mut self,
        seed: u64,
        samples: &Path,
        model: &Path,
    ) -> Result<InferenceTimes> {
        let prepared = self.prepared(seed, samples)?;
        let reference = self.generator(seed, Strength::Medium)?;
        let options = self.options();
        let observer = &mut *self.observer;
        let key = json!({ "samples": store::name(samples), "model": store::name(model) });
        self.store.value("inference", &key, || {
            let time = |folder: &Path| -> Result<Option<f64>> {
                let before = observer.processor_seconds();
                prepared.log_probs(&mut NativeEngine::load(folder, options)?)?;
                Ok(since(before, observer))
            };
            Ok(InferenceTimes { reward: time(model)?, reference: time(&reference)? })
        })
    }
}
