//! How much work a training is, known before its first step.

use super::order::Order;
use super::settings::OptimizationSettings;
use super::task::Task;
use crate::cost::{JobWork, Work};
use crate::encoding::{Item, micro_batches};
use crate::error::Result;

/// The forward passes of a training: as they are run, and as counted when every response of every
/// unit goes through on its own.
///
/// # Errors
/// [`gratis_engine::Error::InvalidBatch`] if a prompt is empty.
pub fn training_work(task: &dyn Task, settings: &OptimizationSettings) -> Result<JobWork> {
    let (mut as_run, mut as_counted) = (Work::default(), Work::default());
    for units in Order::new(settings, task.units()).batches() {
        let items: Vec<Item> = units.iter().map(|&unit| task.items()[unit]).collect();
        let batches = micro_batches(task.corpus(), &items, settings.micro_batch_tokens)?;
        for batch in &batches.packed {
            as_run += Work::of_batch(batch);
        }
        as_counted += counted(task, &items);
    }
    Ok(JobWork { as_run, as_counted })
}

fn counted(task: &dyn Task, items: &[Item]) -> Work {
    let corpus = task.corpus();
    let mut work = Work::default();
    for item in items {
        if let Item::Run { first, n } = *item {
            // One pass over a chain of prompts, of which the last holds all others.
            let longest = (first..first + n).map(|idx| corpus.path_len(idx)).max().unwrap_or(0);
            work += Work { n_predicted: n as u64, ..Work::of_response(longest, 0) };
            continue;
        }
        for idx in item.responses() {
            let n_response = corpus.responses()[idx].tokens.len();
            work += Work::of_response(corpus.path_len(idx) - n_response, n_response);
        }
    }
    work
}
