//! The time, and the last log lines of `train` and `pretrain`: final metrics and the path of the model.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gratis::numeric::figure;
use gratis::training::{Evaluation, Summary};
use tracing::info;

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Logs the metrics of the last step and of the validation split, and the path of the model.
pub(super) fn report(summary: &Summary, run: &Path) {
    let n_steps = summary.n_steps;
    if let Some(last) = &summary.last_step {
        info!("step {} of {n_steps}: {}", last.step, figures(&last.evaluation));
    } else {
        info!("all {n_steps} steps were taken by an earlier run");
    }
    if let Some(validation) = &summary.validation {
        info!("validation: {}", figures(validation));
    }
    if let Some(best) = &summary.best {
        let folder = run.join("best");
        let loss = figure(best.loss);
        info!("best: validation loss {loss} at step {}, in `{}`", best.step, folder.display());
    }
    info!("the model after the last step is in `{}`", run.join("model").display());
}

fn figures(evaluation: &Evaluation) -> String {
    let share = |name, value: Option<f64>| value.map(|v| format!(", {name} {:.1} %", 100.0 * v));
    let reward = |name, value: Option<f64>| value.map(|v| format!(", {name} {}", figure(v)));
    let parts = [
        share("accuracy", evaluation.accuracy),
        share("pair accuracy", evaluation.pair_accuracy),
        reward("mean reward of correct responses", evaluation.reward_correct),
        reward("of incorrect ones", evaluation.reward_incorrect),
    ];
    format!("loss {}", figure(evaluation.loss)) + &parts.into_iter().flatten().collect::<String>()
}
