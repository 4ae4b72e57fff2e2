//! A head's values where the training loop looks for log-probabilities.

use std::path::Path;

use gratis_engine::{
    Engine, EngineDescription, OptimizerStep, PackedBatch, Result, Sample, SampleRequest,
    SamplingSettings, StepReport, TokenValues, ValueEngine,
};

/// An engine whose output for a response token is what its scalar head says: a row of
/// `[n_channels, n_tokens]` a response. The loop hands such rows from engine to task and the
/// slopes back without looking at them.
pub struct OnValues<'a>(pub &'a mut dyn ValueEngine);

impl Engine for OnValues<'_> {
    fn describe(&self) -> EngineDescription {
        self.0.describe()
    }

    fn log_probs(&mut self, batch: &PackedBatch) -> Result<TokenValues> {
        self.0.values(batch)
    }

    fn forward_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        self.0.values_backward(batch, weigh)
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport> {
        self.0.optimizer_step(step)
    }

    fn discard_gradient(&mut self) {
        self.0.discard_gradient();
    }

    fn sample(
        &mut self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
    ) -> Result<Vec<Vec<Sample>>> {
        self.0.sample(requests, settings)
    }

    fn save_weights(&self, folder: &Path) -> Result<()> {
        self.0.save_weights(folder)
    }

    fn save_state(&self, folder: &Path) -> Result<()> {
        self.0.save_state(folder)
    }

    fn load_state(&mut self, folder: &Path) -> Result<()> {
        self.0.load_state(folder)
    }
}
