//! One batch at a time, as most of the tests need it.

use std::path::Path;

use gratis_engine::{PackedBatch, Result, StateName, StateRef, TokenValues, TrainValues};

/// The calls of an engine on a single batch.
pub(crate) trait Single {
    fn scored(&self, batch: &PackedBatch) -> Result<TokenValues>;
    fn valued(&self, batch: &PackedBatch) -> Result<TokenValues>;
    /// Answers with the log-probabilities of the forward pass.
    fn backward(
        &mut self,
        batch: &PackedBatch,
        weigh: impl FnMut(&TokenValues) -> TokenValues,
    ) -> Result<TokenValues>;
    /// Answers with the values of the forward pass.
    fn valued_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: impl FnMut(&TokenValues) -> TokenValues,
    ) -> Result<TokenValues>;
    fn save(&self, folder: &Path) -> Result<StateRef>;
    fn restore(&mut self, folder: &Path) -> Result<()>;
}

impl<E: TrainValues> Single for E {
    fn scored(&self, batch: &PackedBatch) -> Result<TokenValues> {
        Ok(self.log_probs(std::slice::from_ref(batch))?.remove(0))
    }

    fn valued(&self, batch: &PackedBatch) -> Result<TokenValues> {
        Ok(self.values(std::slice::from_ref(batch))?.remove(0))
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        mut weigh: impl FnMut(&TokenValues) -> TokenValues,
    ) -> Result<TokenValues> {
        let mut seen = TokenValues::zeros(batch);
        self.forward_backward(std::slice::from_ref(batch), &mut |_, log_probs| {
            seen = log_probs.clone();
            Ok(weigh(log_probs))
        })?;
        Ok(seen)
    }

    fn valued_backward(
        &mut self,
        batch: &PackedBatch,
        mut weigh: impl FnMut(&TokenValues) -> TokenValues,
    ) -> Result<TokenValues> {
        let mut seen = TokenValues::zeros(batch);
        self.values_backward(std::slice::from_ref(batch), &mut |_, values| {
            seen = values.clone();
            Ok(weigh(values))
        })?;
        Ok(seen)
    }

    fn save(&self, folder: &Path) -> Result<StateRef> {
        self.save_state(&StateName { folder: folder.to_owned(), name: "test".to_owned() })
    }

    fn restore(&mut self, folder: &Path) -> Result<()> {
        self.load_state(&StateRef::Folder(folder.to_owned()))
    }
}
