//! Other read-outs of the same trunk: a scalar head, forward and backward, and the mean of the
//! log-probabilities over the vocabulary.

use super::Decoder;
use super::activations::{Keep, Workspace};
use crate::model::head::mean_log_probs;
use crate::model::value_head::{Read, Slots, values, values_backward};
use crate::weights::{Base, Gradient, Weights};
use gratis_engine::PackedBatch;

impl Decoder {
    /// `(1/vocab) sum_v log pi(v | y_<t)` for the response tokens of `batch`: `[n_response_tokens]`.
    pub(crate) fn mean_log_probs(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let mut out = self.forward(weights, batch, Keep::Nothing, workspace);
        mean_log_probs(
            &mut out,
            &workspace.log_sum_exp,
            &workspace.streams[self.config.n_layers % 2],
            &self.head_weights(weights.base),
            &workspace.geometry.predictions,
            &mut workspace.head_scratch,
        );
        out
    }

    /// The head's numbers for the response tokens of `batch`, response after response, each
    /// `[n_channels, n_tokens]`. Nothing without a head.
    pub(crate) fn values(
        &self,
        parameters: &[f32],
        batch: &PackedBatch,
        keep: Keep,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let Some(head) = &self.layout.value_head else { return Vec::new() };
        let base = Base::Loaded(parameters);
        let last = self.trunk(Weights { base, adapter: None }, batch, keep, workspace);
        let n_channels = head.head.n_channels();
        let mut out = vec![0.0; n_channels * batch.n_response_tokens()];
        let slots = Slots::new(batch, n_channels);
        let weights = self.head_weights(base);
        let hidden = &workspace.streams[last];
        values(&mut out, Read { hidden, parameters, weights: &weights, head }, &slots);
        out
    }

    /// Adds `sum weights * d value / dtheta` to `gradient`, for the batch of the last
    /// [`Decoder::values`] on this workspace, which kept `keep`. Consumes what was kept.
    pub(crate) fn values_backward(
        &self,
        parameters: &[f32],
        gradient: &mut [f32],
        weights: &[f32],
        batch: &PackedBatch,
        keep: Keep,
        workspace: &mut Workspace,
    ) {
        let Some(head) = &self.layout.value_head else { return };
        workspace.prepare_backward(&self.config);
        let slots = Slots::new(batch, head.head.n_channels());
        let base = Base::Loaded(parameters);
        let read = Read {
            hidden: &workspace.streams[self.config.n_layers],
            parameters,
            weights: &self.head_weights(base),
            head,
        };
        let dhidden = &mut workspace.dstream;
        values_backward(gradient, dhidden, weights, read, &self.layout, &slots);
        let weights = Weights { base, adapter: None };
        self.trunk_backward(weights, &mut Gradient::Full(gradient), keep, workspace);
    }
}
