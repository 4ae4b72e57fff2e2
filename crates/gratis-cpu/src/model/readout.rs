//! The read-out of a published reward model: dense networks on the last norm's output at every
//! response token. Forward only.

use super::Decoder;
use super::activations::{Keep, Workspace};
use super::head::{HeadWeights, norm_rows};
use crate::kernels::matmul::{Onto, linear};
use crate::kernels::simd::add;
use crate::weights::Weights;
use gratis_engine::PackedBatch;
use gratis_model::readout::{Dense, Readout};

/// Rows that go through the networks at a time.
const ROWS: usize = 256;

impl Decoder {
    /// The channels of `readout` for the response tokens of `batch`, response after response, each
    /// `[n_channels, n_tokens]`.
    pub(crate) fn read_out(
        &self,
        weights: Weights<'_>,
        readout: &Readout,
        batch: &PackedBatch,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let last = self.trunk(weights, batch, Keep::Nothing, workspace);
        let hidden = &workspace.streams[last];
        let HeadWeights { norm, .. } = self.head_weights(weights.base);
        let n_channels = readout.n_channels();
        let mut out = vec![0.0; n_channels * batch.n_response_tokens()];
        let mut start = 0;
        for &idx in batch.responses() {
            let rows: Vec<usize> = batch.segment(idx).rows().collect();
            let own = &mut out[start..start + n_channels * rows.len()];
            start += own.len();
            for (nth, tile) in rows.chunks(ROWS).enumerate() {
                let mut normed = vec![0.0; tile.len() * norm.len()];
                norm_rows(&mut normed, hidden, norm, tile);
                let mut first_channel = 0;
                for layers in &readout.networks {
                    let values = network(layers, &normed);
                    let width = values.len() / tile.len();
                    for (row, values) in values.chunks_exact(width).enumerate() {
                        for (channel, &value) in values.iter().enumerate() {
                            let place = (first_channel + channel) * rows.len() + nth * ROWS + row;
                            own[place] = value;
                        }
                    }
                    first_channel += width;
                }
            }
        }
        out
    }
}

/// What a network makes of rows of states.
fn network(layers: &[Dense], rows: &[f32]) -> Vec<f32> {
    let mut x = rows.to_vec();
    for (nth, layer) in layers.iter().enumerate() {
        let n_out = layer.n_out();
        let mut y = vec![0.0; x.len() / layer.n_in * n_out];
        linear(&mut y, Onto::Fresh, &x, &layer.weight, layer.n_in);
        if let Some(bias) = &layer.bias {
            y.chunks_exact_mut(n_out).for_each(|row| add(row, bias));
        }
        if nth + 1 < layers.len() {
            for value in &mut y {
                *value = value.max(0.0);
            }
        }
        x = y;
    }
    x
}
