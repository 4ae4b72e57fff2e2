//! Whether a deeper or wider trunk makes the classic head work: a linear head at step ends, trained
//! on the checker's own labels.

use std::path::Path;

use gratis_engine::{NativeEngine, NativeOptions, Tokenizer, ValueHead};
use serde::{Deserialize, Serialize};

use super::judge::{Measured, measure};
use super::recipe::{Configuration, Form, Labels, Recipe};
use super::train::Model;
use super::{ComparisonSettings, prepare};
use crate::baseline::{Pooling, ValueObjective};
use crate::error::Result;
use crate::experiment::demo::DemoSettings;
use crate::experiment::workshop::{self, Workshop};
use crate::observer::Observer;
use crate::selection::Aggregation;

/// A trunk and how long its head learns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// Layers; the demo's models have 2.
    pub n_layers: usize,
    /// Width of the residual stream; the demo's models have 64. The inside of the SwiGLU goes with it.
    pub hidden_size: usize,
    /// Passes over the labelled solutions.
    pub n_epochs: usize,
    /// Highest learning rate of the head's training.
    pub learning_rate: f64,
}

/// Trains a base of this shape, then a classic head on it with true labels of the solutions in
/// `folder` (those of an earlier [`run`](super::run)), and measures it on the candidates there.
///
/// # Errors
/// [`crate::Error::TargetNotReached`] if the base does not learn; those of training and of files.
pub fn classic_head_on(
    trunk: Trunk,
    settings: &ComparisonSettings,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<Measured> {
    let tokenizer: Tokenizer = workshop::tokenizer()?;
    let mut stage = prepare(settings, &tokenizer, folder, observer)?;
    let Trunk { n_layers, hidden_size, .. } = trunk;
    let place = folder.join(format!("base-{n_layers}-{hidden_size}"));
    if !place.exists() {
        let mut shape = workshop::shape(&tokenizer);
        shape.n_layers = n_layers;
        shape.hidden_size = hidden_size;
        shape.intermediate_size = shape.intermediate_size * hidden_size / 64;
        shape.head_dim = hidden_size / shape.n_heads;
        let options = NativeOptions { n_threads: settings.n_threads, ..NativeOptions::default() };
        let mut base =
            NativeEngine::initialise(shape, workshop::INITIALISATION, settings.seed, options)?;
        let workshop = Workshop { tokenizer: &tokenizer, seed: settings.seed };
        workshop.train_base(&mut base, &DemoSettings::default().base, observer)?;
        workshop.publish(&base, &place)?;
    }
    stage.medium = place;
    let recipe = Recipe {
        name: format!("{n_layers} layers of {hidden_size}"),
        form: Form::Head(ValueHead::Linear, Pooling::Own, ValueObjective::Steps),
        labels: Labels::True,
    };
    observer.stage(&recipe.name, None);
    let configuration = Configuration { learning_rate: trunk.learning_rate, beta: 1.0 };
    let mut model = Model::train_epochs(&stage, &recipe, configuration, trunk.n_epochs)?;
    measure(&stage, &mut model, Aggregation::QMin, f64::NAN)
}
