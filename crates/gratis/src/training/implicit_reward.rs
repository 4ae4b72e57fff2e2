//! Implicit process reward models: an objective of the paper on log-ratios (section 3).

use gratis_engine::{Score, TokenValues};

use super::metrics::Tally;
use super::order::Order;
use super::settings::{DataOrder, OptimizationSettings};
use super::task::Task;
use super::units::{RewardExample, UnitKind, Units};
use super::watch::Warning;
use crate::encoding::{Corpus, Item, MicroBatch, log_probs};
use crate::error::{Error, Result};
use crate::objective::{Objective, ObjectiveBatch, Pair};
use crate::observer::Silent;
use crate::reward;

/// Learns `r(y) = beta * log pi(y)/pi_ref(y)` from outcome labels.
#[derive(Debug, Clone)]
pub struct ImplicitReward {
    objective: Objective,
    units: Units,
    examples: Vec<RewardExample>,
    /// Example that each unit's label and step labels are read from; the chosen one of a pair.
    example_of: Vec<usize>,
    /// The other example of each pair, where units are pairs.
    rejected_of: Vec<usize>,
    /// Log-probabilities under the reference of each response of the corpus; `None` without a
    /// reference: the log-ratio is then the log-probability itself.
    reference: Option<Vec<Vec<f32>>>,
    /// For KTO: each unit's response under the prompt of the unit before it in its batch.
    mismatched: Mismatched,
    mismatched_log_ratio: f64,
    /// What is probably wrong with the mismatched responses.
    warnings: Vec<Warning>,
    micro_batch_tokens: usize,
}

/// The responses under another problem's prompt, one list per optimizer batch, keyed by the units of
/// the batch.
type Mismatched = std::collections::HashMap<Vec<usize>, Vec<OfUnit>>;

/// The response of a unit under another prompt.
#[derive(Debug, Clone, Copy)]
struct OfUnit {
    unit: usize,
    response: usize,
}

impl ImplicitReward {
    /// A task on labelled responses. `pairs` are indices into `examples` and stay unused where the
    /// objective is not pairwise. Where the objective couples a batch, the mismatched responses of
    /// all epochs are added to the corpus here, so that the reference sees them once and the corpus,
    /// which names the reference's cache, does not depend on the step at which a run stops.
    /// Those that exceed `context_length` are left out and counted in [`Self::warnings`].
    pub fn new(
        objective: Objective,
        corpus: Corpus,
        examples: Vec<RewardExample>,
        pairs: &[Pair],
        context_length: usize,
        settings: &OptimizationSettings,
    ) -> Self {
        let kind = if objective.needs_pairs() {
            UnitKind::Pairs
        } else if objective.needs_step_labels() {
            UnitKind::LabelledSteps
        } else {
            UnitKind::Responses
        };
        let (mut units, example_of) = Units::of_examples(kind, corpus, &examples, pairs);
        let rejected_of = match kind {
            UnitKind::Pairs => pairs.iter().map(|pair| pair.rejected).collect(),
            UnitKind::Responses | UnitKind::LabelledSteps => Vec::new(),
        };
        let mut mismatched = Mismatched::new();
        let mut warnings = Vec::new();
        if objective.couples_batch() {
            // The batches of training, and the whole as one batch for an evaluation.
            let whole: Vec<usize> = (0..units.len()).collect();
            let (mut n_batches, mut n_empty) = (0, 0);
            let (mut n_all, mut n_left_out) = (0, 0);
            let order = Order::new(settings, &units);
            for batch in order.all_epochs() {
                let Mismatches { kept, n_too_long } =
                    mismatch(&mut units, &batch, settings.order, context_length);
                let n = kept.len() + n_too_long;
                (n_batches, n_empty) = (n_batches + 1, n_empty + usize::from(n == 0));
                (n_all, n_left_out) = (n_all + n, n_left_out + n_too_long);
                mismatched.insert(batch, kept);
            }
            let of_whole = mismatch(&mut units, &whole, settings.order, context_length);
            mismatched.insert(whole, of_whole.kept);
            // The last batch of an epoch may be of one response.
            if 10 * n_empty >= n_batches.max(1) {
                warnings.push(Warning::NoMismatch { n_batches: n_empty, n_all: n_batches });
            }
            if n_left_out > 0 {
                warnings.push(Warning::MismatchTooLong { n_left_out, n_all, context_length });
            }
        }
        Self {
            objective,
            units,
            examples,
            example_of,
            rejected_of,
            reference: None,
            mismatched,
            mismatched_log_ratio: 0.0,
            warnings,
            micro_batch_tokens: settings.micro_batch_tokens,
        }
    }

    /// What is probably wrong with the data for this objective.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(Warning::to_string)
    }

    /// Which responses of the corpus a training with these settings uses, and therefore needs the
    /// reference's log-probabilities of: an entry per response.
    pub fn used_in_training(&self, settings: &OptimizationSettings) -> Vec<bool> {
        let mut is_used = vec![false; self.units.corpus.responses().len()];
        for batch in Order::new(settings, &self.units).batches() {
            self.mark(&batch, &mut is_used);
        }
        is_used
    }

    /// The same for an evaluation of the whole task.
    pub fn used_in_evaluation(&self) -> Vec<bool> {
        let mut is_used = vec![false; self.units.corpus.responses().len()];
        self.mark(&(0..self.units.len()).collect::<Vec<_>>(), &mut is_used);
        is_used
    }

    fn mark(&self, batch: &[usize], is_used: &mut [bool]) {
        let mismatched = self.mismatched.get(batch).into_iter().flatten();
        let mismatched = mismatched.map(|of_unit| of_unit.response);
        let own = batch.iter().flat_map(|&unit| self.units.items[unit].responses());
        own.chain(mismatched).for_each(|response| is_used[response] = true);
    }

    /// The same task with the reference's log-probabilities of the responses of [`Units::corpus`]:
    /// `[n_responses][n_tokens]`. A response that is not used may have no row.
    #[must_use]
    pub fn with_reference(mut self, log_probs: Vec<Vec<f32>>) -> Self {
        self.reference = Some(log_probs);
        self
    }

    fn log_ratios(&self, response: usize, log_probs: &[f32]) -> Result<Vec<f64>> {
        let reference = self.reference.as_ref().map(|reference| &reference[response][..]);
        if let Some(row) = reference
            && row.len() != log_probs.len()
        {
            let expected = format!("{} log-probabilities of a used response", log_probs.len());
            return Err(Error::setting("reference", expected, row.len()));
        }
        Ok(reward::log_ratios(log_probs, reference))
    }

    /// Mean over the batch of the log-ratio of responses under another problem's prompt.
    fn estimate_mismatch(&self, engine: &dyn Score, units: &[usize]) -> Result<f64> {
        let responses = &self.mismatched[units];
        if responses.is_empty() {
            return Ok(0.0);
        }
        let mut batch = Corpus::default();
        let in_batch: Vec<usize> = responses
            .iter()
            .map(|of_unit| {
                let corpus = &self.units.corpus;
                let response = &corpus.responses()[of_unit.response];
                let prompt = batch.prompt(&corpus.prompts()[response.prompt_idx]);
                batch.response(prompt, &response.tokens)
            })
            .collect();
        let values = log_probs(engine, &batch, self.micro_batch_tokens, &mut Silent)?;
        let sums = in_batch.iter().zip(responses).map(|(&row, &OfUnit { unit, response })| {
            let log_ratios = self.log_ratios(response, &values[row])?;
            let example = &self.examples[self.example_of[unit]];
            Ok(example.counted(log_ratios.len()).of(log_ratios).iter().sum::<f64>())
        });
        Ok(sums.sum::<Result<f64>>()? / responses.len() as f64)
    }
}

/// The responses of a batch under the prompts of other problems.
#[derive(Default)]
struct Mismatches {
    /// Those that fit into the context.
    kept: Vec<OfUnit>,
    /// How many do not.
    n_too_long: usize,
}

/// The response of each unit under the prompt of the unit before it, the first after the last.
/// Where responses are shuffled, neighbours of one problem give no mismatch. Where problems are, the
/// prompt is that of the nearest unit before it that belongs to another problem, so that the responses
/// of one problem share a prompt here as well.
fn mismatch(
    units: &mut Units,
    batch: &[usize],
    order: DataOrder,
    context_length: usize,
) -> Mismatches {
    let Units { corpus, items, .. } = units;
    let first = |corpus: &Corpus, unit: usize| {
        let idx = items[unit].responses().next().unwrap_or_default();
        corpus.responses()[idx].clone()
    };
    let mut mismatches = Mismatches::default();
    for (nth, &unit) in batch.iter().enumerate() {
        let response = first(corpus, unit);
        let n_before = match order {
            DataOrder::Problems => batch.len() - 1,
            DataOrder::Responses => 1.min(batch.len() - 1),
        };
        let before = (1..=n_before)
            .map(|back| first(corpus, batch[(nth + batch.len() - back) % batch.len()]))
            .find(|before| before.prompt_idx != response.prompt_idx);
        let Some(before) = before else { continue };
        let n_prompt = corpus.prompts()[before.prompt_idx].len();
        if n_prompt + response.tokens.len() > context_length {
            mismatches.n_too_long += 1;
        } else {
            let response = corpus.response(before.prompt_idx, &response.tokens);
            mismatches.kept.push(OfUnit { unit, response });
        }
    }
    mismatches
}

impl Task for ImplicitReward {
    fn units(&self) -> &Units {
        &self.units
    }

    fn reason_for_no_gradient(&self) -> Option<&'static str> {
        self.objective.reason_for_no_gradient()
    }

    fn prepare(&mut self, engine: &dyn Score, units: &[usize]) -> Result<()> {
        if self.objective.couples_batch() {
            self.mismatched_log_ratio = self.estimate_mismatch(engine, units)?;
        }
        Ok(())
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues> {
        let row_of = batch.row_of();
        // What the objective sees: one row per unit, so that a response drawn twice counts twice;
        // with pairs two rows per unit.
        let mut rows = Vec::new();
        let mut log_ratios = Vec::new();
        let mut labels = Vec::new();
        let mut steps = Vec::new();
        let mut pairs = Vec::new();
        let mut counted = Vec::new();
        for &unit in &batch.units {
            let unit = units[unit];
            let example = &self.examples[self.example_of[unit]];
            let item = &self.units.items[unit];
            if let Item::Pair(_) = item {
                pairs.push(Pair { chosen: rows.len(), rejected: rows.len() + 1 });
            }
            for (nth, idx) in item.responses().enumerate() {
                let row = row_of[&idx];
                rows.push(row);
                let of_tokens = self.log_ratios(idx, log_probs.row(row))?;
                let masked_by =
                    if nth == 0 { example } else { &self.examples[self.rejected_of[unit]] };
                let of_row = masked_by.counted(of_tokens.len());
                log_ratios.push(of_row.of(of_tokens));
                labels.push(if nth == 0 { example.label } else { 0.0 });
                if self.objective.needs_step_labels() {
                    steps.push(of_row.steps(&example.steps));
                }
                counted.push(of_row);
            }
        }
        let output = self.objective.evaluate(&ObjectiveBatch {
            log_ratios: &log_ratios,
            labels: &labels,
            pairs: &pairs,
            n_units: units.len(),
            mismatched_log_ratio: self.mismatched_log_ratio,
            steps: &steps,
        })?;

        tally.add_loss(output.loss);
        for (&reward, &label) in output.outcome_rewards.iter().zip(&labels) {
            tally.add_reward(reward, label);
        }
        for pair in &pairs {
            let reward = |idx: usize| output.outcome_rewards[idx];
            tally.add_pair(reward(pair.chosen), reward(pair.rejected));
        }
        let mut weights = log_probs.zeros_like();
        for ((&row, of_row), counted) in rows.iter().zip(&output.weights).zip(&counted) {
            let sums = weights.row_mut(row);
            for (place, weight) in counted.places().zip(of_row) {
                sums[place] += *weight as f32;
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatched_responses_of_a_problem_share_the_prompt_of_another() {
        let mut corpus = Corpus::default();
        let mut items = Vec::new();
        for problem in 0..3 {
            let prompt = corpus.prompt(&[problem]);
            for response in 10..14 {
                items.push((Item::Response(corpus.response(prompt, &[problem, response])), prompt));
            }
        }
        let mut units = Units::new(corpus);
        for (item, prompt) in items {
            units.push_grouped(item, "p", prompt);
        }
        let batch: Vec<usize> = (0..12).collect();
        let mut prompts_of = |order| {
            let Mismatches { kept, n_too_long } = mismatch(&mut units, &batch, order, 64);
            assert_eq!(n_too_long, 0);
            let prompt = |of: &OfUnit| units.corpus.responses()[of.response].prompt_idx;
            kept.iter().map(|of| (of.unit, prompt(of))).collect::<Vec<_>>()
        };
        let expected: Vec<_> = (0..12).map(|unit| (unit, (unit / 4 + 2) % 3)).collect();
        assert_eq!(prompts_of(DataOrder::Problems), expected);
        // The unit before it, and none where that is of the same problem.
        assert_eq!(prompts_of(DataOrder::Responses), [(0, 2), (4, 0), (8, 1)]);
        let Mismatches { kept, .. } = mismatch(&mut units, &batch[..4], DataOrder::Problems, 64);
        assert!(kept.is_empty(), "one problem alone");
    }
}
