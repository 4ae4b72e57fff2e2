//! What table 1 shows below its table on a user's cast: what was trained on how much, how well each row
//! ranks candidates, whether its reward is only length, and ProcessBench.

use std::collections::BTreeMap;
use std::rc::Rc;

use gratis::data::{ProblemScores, Rollout};
use gratis::encoding::{Corpus, encode_rollouts};
use gratis::evaluation::process_bench::{self, Subset};
use gratis::evaluation::{Interval, ProcessBench, StepSignal};
use gratis::reward::ValueRule;
use gratis::selection::Aggregation;
use gratis::{JudgedSolution, LengthStatistics, LengthUnit, ProblemCandidates};

use super::OwnCast;
use super::data::{CandidateSet, Purpose, hash};
use super::models::{Form, TrainRecord};
use super::ranking::{Ranked, areas, of_writer};
use super::{Ready, RowKind};
use crate::cast::{Cast as _, Details, TableRow};
use crate::error::Result;
use crate::outcome::PlainTable;
use crate::rows::RewardModel;

impl OwnCast<'_> {
    pub(super) fn own_details(&mut self, rows: &[TableRow]) -> Result<Details> {
        let seed = self.file.seeds[0];
        if self.plan_before_sampling(seed, &RewardModel::Generator)?.is_some() {
            return Ok(Details::default());
        }
        let test = self.candidate_sets(Purpose::Test, seed)?;
        let mut areas_of = Vec::new();
        let mut lengths_of = Vec::new();
        let mut by_writer = Vec::new();
        let mut shares = Vec::new();
        for set in &*test {
            shares.push(self.shares_of_writers(set, seed)?);
        }
        for row in rows {
            self.begin_row(&row.name, seed);
            let Ready { form, .. } = self.ready(seed, &row.model)?;
            for (set, shares) in test.iter().zip(&shares) {
                let scores = self.score(&form, ValueRule::Sum, &set.answers.rollouts)?;
                if self.plan.is_some() {
                    continue;
                }
                let lengths = self.lengths(&set.answers.rollouts)?;
                lengths_of.push(self.length_row(row, set, &scores, &lengths, shares.as_deref())?);
                for by in [Aggregation::Outcome, Aggregation::Min] {
                    let (cells, of_writers) = self.area_row(set, &scores, by)?;
                    let label = format!("{}, {}, {by}", row.name, set.name);
                    areas_of.push([vec![label.clone()], cells].concat());
                    by_writer.push((label, of_writers));
                }
            }
        }
        let bench = self.bench_table(rows, seed)?;
        if self.plan.is_some() {
            return Ok(Details::default());
        }
        for (set, shares) in test.iter().zip(&shares) {
            if let Some(shares) = shares {
                let (cells, _) = self.areas_by(set, |problem, idx| shares[problem][idx])?;
                let label = format!("the writer's accuracy in the training data, {}", set.name);
                areas_of.push([vec![label], cells].concat());
            }
        }
        let mut tables = vec![
            self.training_table(),
            PlainTable {
                caption: format!(
                    "Area under the curve of correct above incorrect candidates, seed {seed}, by the \
                     outcome reward and by the lowest step reward: over all candidates; among those of \
                     one writer, mean over writers; among those of one problem, mean over problems. \
                     Intervals over problems. A writer's problems differ in difficulty: only the last \
                     column compares answers to the same problem. The last row knows nothing but who \
                     wrote a candidate"
                ),
                header: ["", "overall", "within a writer", "within a problem"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: areas_of,
            },
        ];
        tables.extend(writer_table(&test, &by_writer));
        tables.push(PlainTable {
            caption: format!(
                "Length and style, seed {seed}: rank correlations among the candidates of a problem, mean \
                 over problems with its interval; score by the outcome reward; the writer's accuracy is \
                 that in the training data"
            ),
            header: [
                "",
                "score and tokens",
                "lowest step and number of steps",
                "score and the writer's accuracy",
            ]
                .map(str::to_owned)
                .to_vec(),
            rows: lengths_of,
        });
        tables.extend(bench);
        Ok(Details { tables, examples: None })
    }

    /// Tokens of each response.
    fn lengths(&mut self, rollouts: &[Rollout]) -> Result<Vec<Vec<usize>>> {
        let start = self.start()?;
        let encoder = self.file.encoder(&start)?;
        let mut corpus = Corpus::default();
        let mut lengths: Vec<Vec<usize>> =
            rollouts.iter().map(|rollout| vec![0; rollout.completions.len()]).collect();
        for completion in encode_rollouts(rollouts, &encoder, &mut corpus)? {
            lengths[completion.rollout_idx][completion.completion_idx] =
                corpus.responses()[completion.response].tokens.len();
        }
        Ok(lengths)
    }

    fn length_row(
        &self,
        row: &TableRow,
        set: &CandidateSet,
        scores: &[ProblemScores],
        lengths: &[Vec<usize>],
        shares: Option<&[Vec<f64>]>,
    ) -> Result<Vec<String>> {
        let problems = set.answers.rollouts.iter().zip(scores);
        let problems = problems
            .map(|(rollout, score)| ProblemCandidates::new(rollout, score))
            .collect::<Result<Vec<_>, gratis::Error>>()?;
        let (unit, by) = (LengthUnit::Tokens, Aggregation::Outcome);
        let found = LengthStatistics::new(&problems, lengths, unit, by, &self.bootstrap());
        // Ranks alone count, so a share may be given in millionths.
        let of_style = shares.and_then(|shares| {
            let millionths = |of: &f64| (1e6 * of) as usize;
            let shares: Vec<Vec<usize>> =
                shares.iter().map(|of| of.iter().map(millionths).collect()).collect();
            let found = LengthStatistics::new(&problems, &shares, unit, by, &self.bootstrap());
            found.score_and_length.correlation
        });
        let shown = |of: Option<Interval>| {
            of.map_or_else(
                || "-".to_owned(),
                |of| format!("{:+.2} ({:+.2} to {:+.2})", of.mean, of.low, of.high),
            )
        };
        Ok(vec![
            format!("{}, {}", row.name, set.name),
            shown(found.score_and_length.correlation),
            shown(found.lowest_step_and_steps.correlation),
            shown(of_style),
        ])
    }

    /// The areas of a row, and those within each writer.
    fn area_row(
        &self,
        set: &CandidateSet,
        scores: &[ProblemScores],
        by: Aggregation,
    ) -> Result<(Vec<String>, Vec<Option<f64>>)> {
        let of = |problem_idx: usize, idx: usize| {
            let score = &scores[problem_idx].scores[idx];
            by.score(&score.steps, &score.q_values, score.outcome)
        };
        self.areas_by(set, of)
    }

    /// The same for any score of a candidate, named by its problem and its place.
    fn areas_by(
        &self,
        set: &CandidateSet,
        score: impl Fn(usize, usize) -> f64,
    ) -> Result<(Vec<String>, Vec<Option<f64>>)> {
        let writers = writers_of(set);
        let mut problems = Vec::new();
        for (idx, rollout) in set.answers.rollouts.iter().enumerate() {
            let labels = rollout.labels("the area under the curve")?;
            let ranked = labels.into_iter().enumerate().map(|(k, is_correct)| {
                let named = set.answers.writers.as_ref().map(|all| &all[idx][k]);
                let writer = named.and_then(|named| writers.iter().position(|of| of == named));
                Ranked { score: score(idx, k), is_correct, writer: writer.unwrap_or_default() }
            });
            problems.push(ranked.collect::<Vec<_>>());
        }
        let found = areas(&problems, writers.len().max(1), &self.bootstrap());
        let shown = |of: Option<Interval>| {
            of.map_or_else(
                || "-".to_owned(),
                |of| format!("{:.3} ({:.3} to {:.3})", of.mean, of.low, of.high),
            )
        };
        let cells = [found.overall, found.within_writer, found.within_problem].map(shown);
        let within = (0..writers.len()).map(|writer| of_writer(&problems, writer)).collect();
        Ok((cells.to_vec(), within))
    }

    /// The share of correct answers that the writer of each test candidate has in the training data:
    /// `[n_problems][n_candidates]`; `None` where no writers are named.
    fn shares_of_writers(
        &mut self,
        set: &CandidateSet,
        seed: u64,
    ) -> Result<Option<Vec<Vec<f64>>>> {
        let training = self.training_answers(seed)?;
        let (Some(known), Some(asked)) = (&training.writers, &set.answers.writers) else {
            return Ok(None);
        };
        let mut counts: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (rollout, writers) in training.rollouts.iter().zip(&**known) {
            for (completion, writer) in rollout.completions.iter().zip(writers) {
                let (n, n_correct) = counts.entry(writer).or_default();
                *n += 1.0;
                *n_correct += f64::from(u8::from(completion.label == Some(true)));
            }
        }
        let share = |writer: &String| {
            counts.get(writer.as_str()).map_or(f64::NAN, |(n, n_correct)| n_correct / n)
        };
        Ok(Some(asked.iter().map(|writers| writers.iter().map(share).collect()).collect()))
    }

    fn training_table(&self) -> PlainTable {
        let row = |(row, record): &(String, TrainRecord)| {
            let seconds = record.processor_seconds;
            vec![
                row.clone(),
                record.n_problems.to_string(),
                record.n_responses.to_string(),
                record.n_correct.to_string(),
                record.n_steps.to_string(),
                seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0}")),
            ]
        };
        PlainTable {
            caption: "What was trained".to_owned(),
            header: [
                "",
                "problems",
                "responses",
                "correct",
                "optimizer steps",
                "processor seconds",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: self.trainings.iter().map(row).collect(),
        }
    }

    /// ProcessBench with every row that rewards steps.
    fn bench_table(&mut self, rows: &[TableRow], seed: u64) -> Result<Option<PlainTable>> {
        let file = Rc::clone(&self.file);
        let Some(bench) = &file.process_bench else { return Ok(None) };
        let mut subsets = process_bench::read(&file.resolve_file(&bench.folder))?;
        if let Some(n) = bench.n_solutions {
            for subset in &mut subsets {
                shorten(subset, n);
            }
        }
        let bootstrap = self.bootstrap();
        let mut lines = Vec::new();
        let mut by_chance = None;
        for row in rows {
            self.begin_row(&format!("{}, ProcessBench", row.name), seed);
            let Ready { form, .. } = self.ready(seed, &row.model)?;
            let signal = match form {
                Form::Own(_) => StepSignal::QValue,
                Form::LogRatio { .. } | Form::SelfCertainty(_) => StepSignal::Reward,
            };
            let mut scores = Vec::new();
            for subset in &subsets {
                scores.push(self.score(&form, ValueRule::Sum, &subset.rollouts)?);
            }
            if self.plan.is_some() {
                continue;
            }
            let scored: Vec<_> = subsets.iter().zip(scores.iter().map(Vec::as_slice)).collect();
            let result = ProcessBench::of(&scored, signal, None, bootstrap)?;
            by_chance = by_chance.or(result.mean_f1_by_chance);
            lines.push(bench_line(&row.name, signal.name(), &result));
        }
        if self.plan.is_some() {
            return Ok(None);
        }
        let judged: Vec<_> =
            subsets.iter().map(|subset| (subset.name.clone(), by_length(subset))).collect();
        let result = ProcessBench::of_judged(&judged, None, bootstrap)?;
        lines.push(bench_line("no model: longer steps are wrong", "minus characters", &result));
        let mut header = vec![String::new(), "signal".to_owned(), "threshold".to_owned()];
        let named = |subset: &Subset| format!("{}, F1 ({})", subset.name, subset.rollouts.len());
        header.extend(subsets.iter().map(named));
        header.extend(["mean F1", "mean F1, own threshold (!)"].map(str::to_owned));
        Ok(Some(PlainTable {
            caption: format!(
                "ProcessBench in percent, solutions in brackets, seed {seed}: the threshold is tuned on \
                 GSM8K alone; (!) tuned on the same solutions, an optimistic upper bound; steps scored at \
                 random: {}",
                by_chance.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", 100.0 * share)),
            ),
            header,
            rows: lines,
        }))
    }

    pub(super) fn own_conditions(&self) -> Vec<String> {
        let file = &self.file;
        let mut all = Vec::new();
        if let Some(status) = &file.status {
            all.push(format!("Status of the cast: {status}."));
        }
        let reference = file.reference.as_ref().unwrap_or(&file.start);
        all.push(format!(
            "Reward models start from `{}`; the reference is `{}`. Settings of each training are in \
             the `config.toml` of its run, below `runs` in the cache.",
            file.start.display(),
            reference.display(),
        ));
        let seed = file.seeds[0];
        if let Some(answers) = self.answers.get(&(Purpose::Training, seed, String::new())) {
            all.push(format!(
                "Trained on {} responses ({} correct) to {} problems; pairwise objectives on at most \
                 four pairs per problem.",
                answers.n_responses(),
                answers.n_correct(),
                answers.rollouts.len(),
            ));
        }
        for (purpose, what) in [(Purpose::Validation, "Chosen"), (Purpose::Test, "Evaluated")] {
            if let Some(sets) = self.sets.get(&(purpose, seed)) {
                let of = |set: &CandidateSet| {
                    let order = file.generators.iter().find(|of| of.name == set.name);
                    let order = match order.map(|of| of.order) {
                        Some(super::file::Order::Shuffled) => " in the order of their hashes",
                        _ => "",
                    };
                    format!(
                        "{} of `{}`{order} ({} correct)",
                        set.answers.n_responses(),
                        set.name,
                        set.answers.n_correct()
                    )
                };
                let n = sets.first().map_or(0, |set| set.answers.rollouts.len());
                let named: Vec<String> = sets.iter().map(of).collect();
                all.push(format!("{what} on {n} problems, candidates: {}.", named.join("; ")));
            }
        }
        let part = |part: Option<[f64; 2]>| {
            part.map_or("all".to_owned(), |[from, to]| format!("{from} to {to}"))
        };
        all.push(format!(
            "A problem belongs to a split by the first eight bytes of the SHA-256 of its prompt, as a \
             fraction of the whole: training {}, validation {}, test {}; within a split problems are \
             in the order of their hashes.",
            part(file.train.part),
            part(file.validation.part),
            part(file.test.part),
        ));
        let has_heads = file.rows.iter().any(|row| row.kind == RowKind::Orm);
        all.push(format!(
            "Steps are split by {}; the score of an implicit model is its lowest process reward{}; \
             the first N candidates are used, ties go to the first; the temperature of the vote is \
             chosen on the validation problems.",
            file.step_split,
            if has_heads {
                ", the aggregation of an explicit one is chosen on the validation problems"
            } else {
                ""
            },
        ));
        let bootstrap = self.bootstrap();
        all.push(format!(
            "Seeds {:?}; intervals are {:.0} % percentile bootstraps over seeds and problems ({} \
             resamples, seed {}).",
            file.seeds,
            100.0 * bootstrap.confidence,
            bootstrap.n_resamples,
            bootstrap.seed,
        ));
        all
    }
}

/// A row of the table of ProcessBench.
fn bench_line(name: &str, signal: &str, result: &ProcessBench) -> Vec<String> {
    let with_half =
        |of: &Interval| format!("{:.1} ± {:.1}", 100.0 * of.mean, 50.0 * (of.high - of.low));
    let dash = || "-".to_owned();
    let mut line = vec![name.to_owned(), signal.to_owned()];
    line.push(result.threshold.map_or_else(dash, |at| format!("{at:.4}")));
    for subset in &result.subsets {
        line.push(subset.f1.as_ref().map_or_else(dash, with_half));
    }
    line.push(result.mean_f1.as_ref().map_or_else(dash, with_half));
    line.push(format!("{:.1}", 100.0 * result.mean_f1_tuned_on_itself));
    line
}

/// The solutions with the length of each step, in characters, in place of a reward: what a threshold
/// finds that knows nothing else.
fn by_length(subset: &Subset) -> Vec<JudgedSolution> {
    let judge = |(rollout, &first_error): (&Rollout, &Option<usize>)| {
        let steps = rollout.completions.first().and_then(|of| of.steps.as_deref());
        let lengths = steps.unwrap_or_default().iter().map(|step| -(step.chars().count() as f64));
        JudgedSolution { process_rewards: lengths.collect(), first_error }
    };
    subset.rollouts.iter().zip(&subset.first_errors).map(judge).collect()
}

/// The writers of a set, by name.
fn writers_of(set: &CandidateSet) -> Vec<String> {
    let mut names: Vec<String> = match &set.answers.writers {
        Some(all) => all.iter().flatten().cloned().collect(),
        None => Vec::new(),
    };
    names.sort();
    names.dedup();
    names
}

/// The area within each writer, a column per row of table 1; `None` where no writers are named.
fn writer_table(
    sets: &[CandidateSet],
    by_writer: &[(String, Vec<Option<f64>>)],
) -> Option<PlainTable> {
    let [set] = sets else { return None };
    let writers = writers_of(set);
    if writers.is_empty() {
        return None;
    }
    let of_outcome: Vec<_> =
        by_writer.iter().filter(|(label, _)| label.ends_with("outcome")).collect();
    let name = |label: &str| label.split(", ").next().unwrap_or_default().to_owned();
    let mut header = vec![String::new(), "correct, %".to_owned()];
    header.extend(of_outcome.iter().map(|(label, _)| {
        let suffix = format!(", {}, outcome", set.name);
        label.strip_suffix(&suffix).map_or_else(|| name(label), str::to_owned)
    }));
    let all = set.answers.writers.as_ref()?;
    let share = |writer: &String| {
        let (mut n, mut n_correct) = (0, 0);
        for (rollout, writers) in set.answers.rollouts.iter().zip(&**all) {
            for (completion, own) in rollout.completions.iter().zip(writers) {
                if own == writer {
                    n += 1;
                    n_correct += usize::from(completion.label == Some(true));
                }
            }
        }
        format!("{:.0}", 100.0 * n_correct as f64 / n.max(1) as f64)
    };
    let row = |(idx, writer): (usize, &String)| {
        let cells = of_outcome.iter().map(|(_, areas)| {
            areas[idx].map_or_else(|| "-".to_owned(), |area| format!("{area:.2}"))
        });
        [vec![writer.clone(), share(writer)], cells.collect()].concat()
    };
    Some(PlainTable {
        caption: "Area under the curve among the candidates of each writer, by the outcome reward"
            .to_owned(),
        header,
        rows: writers.iter().enumerate().map(row).collect(),
    })
}

/// The first solutions of a subset, in the order of the hashes of problem and solution: a larger number
/// adds to the same ones.
fn shorten(subset: &mut Subset, n: usize) {
    let key = |rollout: &Rollout| {
        hash(&[&rollout.prompt, rollout.completions.first().map_or("", |of| &of.text)])
    };
    let mut order: Vec<usize> = (0..subset.rollouts.len()).collect();
    order.sort_by_key(|&idx| key(&subset.rollouts[idx]));
    order.truncate(n);
    subset.rollouts = order.iter().map(|&idx| subset.rollouts[idx].clone()).collect();
    subset.first_errors = order.iter().map(|&idx| subset.first_errors[idx]).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use gratis::data::Completion;

    #[test]
    fn a_long_step_has_a_low_signal_and_fewer_solutions_are_the_first_ones() {
        let rollout = |text: &str, steps: &[&str]| Rollout {
            prompt: "p".to_owned(),
            completions: vec![
                Completion::from(text)
                    .with_steps(steps.iter().map(|&step| step.to_owned()).collect()),
            ],
            ..Rollout::default()
        };
        let mut subset = Subset {
            name: "gsm8k".to_owned(),
            rollouts: vec![rollout("aä\n\nb", &["aä", "b"]), rollout("c", &["c"])],
            first_errors: vec![Some(1), None],
        };
        let judged = by_length(&subset);
        assert_eq!(judged[0].process_rewards, [-2.0, -1.0]);
        assert_eq!((judged[0].first_error, judged[1].first_error), (Some(1), None));
        let whole = {
            let mut whole = subset.clone();
            shorten(&mut whole, 2);
            whole
        };
        shorten(&mut subset, 1);
        assert_eq!(subset.rollouts[..], whole.rollouts[..1], "a larger number keeps the first");
        assert_eq!(subset.first_errors[..], whole.first_errors[..1]);
    }
}
