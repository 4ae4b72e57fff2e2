//! Read-outs of published reward models: small dense networks on the output of the last norm.
//!
//! They are stored separately from the flat parameters of a model and are never trained here. They
//! do not know the names of their tensors; the code that loads a format does.

/// `y = W x + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// `W`, row-major: `[n_out, n_in]`.
    pub weight: Vec<f32>,
    /// `b`: `[n_out]`.
    pub bias: Option<Vec<f32>>,
    /// Width of `x`, above 0.
    pub n_in: usize,
}

impl Dense {
    /// Width of `y`.
    pub fn n_out(&self) -> usize {
        self.weight.len() / self.n_in.max(1)
    }
}

/// Networks side by side on the same state: dense layers with a ReLU between them. The outputs of
/// all networks, one after the other, are the channels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readout {
    /// The layers of each network, first to last.
    pub networks: Vec<Vec<Dense>>,
}

impl Readout {
    /// A single linear map.
    pub fn linear(weight: Vec<f32>, bias: Option<Vec<f32>>, n_in: usize) -> Self {
        Self { networks: vec![vec![Dense { weight, bias, n_in }]] }
    }

    /// Numbers per token.
    pub fn n_channels(&self) -> usize {
        self.networks.iter().filter_map(|layers| layers.last()).map(Dense::n_out).sum()
    }

    /// Whether each layer takes what the one before it gives, the first a state of `hidden_size`.
    pub fn fits(&self, hidden_size: usize) -> bool {
        self.networks.iter().all(|layers| {
            let mut width = hidden_size;
            !layers.is_empty()
                && layers.iter().all(|layer| {
                    let n_out = layer.n_out();
                    let is_whole = n_out > 0 && layer.weight.len() == n_out * layer.n_in;
                    let bias_fits = layer.bias.as_ref().is_none_or(|bias| bias.len() == n_out);
                    let fits = layer.n_in == width && is_whole && bias_fits;
                    width = n_out;
                    fits
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_must_chain_from_the_state() {
        let dense = |n_in: usize, n_out: usize| Dense {
            weight: vec![0.0; n_in * n_out],
            bias: Some(vec![0.0; n_out]),
            n_in,
        };
        let readout = Readout { networks: vec![vec![dense(4, 3)], vec![dense(4, 5), dense(5, 2)]] };
        assert!(readout.fits(4));
        assert_eq!(readout.n_channels(), 5);
        assert!(!readout.fits(5));
        let broken = Readout { networks: vec![vec![dense(4, 3), dense(4, 1)]] };
        assert!(!broken.fits(4));
        assert!(!Readout { networks: vec![Vec::new()] }.fits(4));
    }
}
