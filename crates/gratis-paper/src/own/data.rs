//! The problems, responses and candidates of a cast: read from files and split by the hash of the prompt,
//! or sampled from an engine, chunk by chunk.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use gratis::annotate::{LabelKind, MonteCarlo};
use gratis::data::{OnInvalid, Reading, Rollout, RolloutFiles, ShapeSettings};
use gratis::observer::Silent;
use gratis::reward_model::Model;
use gratis::rollout::{GradeCounts, Sampler, grade};
use gratis::selection::mean_pass_at_1;
use gratis_engine::SamplingSettings;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::OwnCast;
use super::file::{Generator, Order, Part, Sampling, StepTruth};
use super::models::Scored;
use super::plan::Work;
use crate::cache::store;
use crate::error::{Error, Result};

/// File with the rollouts of an artefact.
pub(super) const ROLLOUTS: &str = "rollouts.jsonl";
/// Kind of the artefact with the processor seconds of a chunk of samples.
const SECONDS_OF_SAMPLES: &str = "samples-seconds";
/// Problems sampled together: an interrupted run loses one such chunk.
const CHUNK: usize = 16;

/// Rollouts with the writer of each response, where one file has those of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answers {
    /// One per problem.
    pub(super) rollouts: Rc<Vec<Rollout>>,
    /// `[n_problems][n_responses]`.
    pub(super) writers: Option<Rc<Vec<Vec<String>>>>,
}

/// First wrong steps: `[n_problems][n_candidates]`, `None` for a candidate without an error.
pub(super) type FirstErrors = Vec<Vec<Option<usize>>>;

/// The candidates of one generator on one split.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CandidateSet {
    /// The generator.
    pub(super) name: String,
    /// Its candidates.
    pub(super) answers: Answers,
    /// SHA-256 of all prompts and candidates.
    pub(super) digest: String,
}

/// What candidates are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Training,
    Validation,
    Test,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Training => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl Answers {
    /// The first problems with their first responses.
    pub(super) fn first(&self, n_problems: Option<usize>, n_responses: Option<usize>) -> Self {
        let n_problems = n_problems.unwrap_or(usize::MAX).min(self.rollouts.len());
        let n_of = |n: usize| n_responses.unwrap_or(usize::MAX).min(n);
        let rollouts = self.rollouts[..n_problems].iter().map(|rollout| {
            let n = n_of(rollout.completions.len());
            rollout.with_completions(&(0..n).collect::<Vec<_>>())
        });
        let writers = self.writers.as_ref().map(|writers| {
            let first = |of: &Vec<String>| of[..n_of(of.len())].to_vec();
            Rc::new(writers[..n_problems].iter().map(first).collect())
        });
        Self { rollouts: Rc::new(rollouts.collect()), writers }
    }

    pub(super) fn n_responses(&self) -> usize {
        self.rollouts.iter().map(|rollout| rollout.completions.len()).sum()
    }

    /// Responses with a correct answer.
    pub(super) fn n_correct(&self) -> usize {
        let all = self.rollouts.iter().flat_map(|rollout| &rollout.completions);
        all.filter(|completion| completion.label == Some(true)).count()
    }
}

impl OwnCast<'_> {
    /// The training data of a seed.
    pub(super) fn training_answers(&mut self, seed: u64) -> Result<Answers> {
        let file = Rc::clone(&self.file);
        let source = &file.train;
        if let Some(found) = self.answers.get(&(Purpose::Training, seed, String::new())) {
            return Ok(found.clone());
        }
        let answers = if source.problems.is_empty() {
            let generator = Generator {
                candidates: source.rollouts.clone(),
                shape: source.shape.clone(),
                order: source.order,
                writers: file.generators.iter().find_map(|of| of.writers.clone()),
                ..Generator::default()
            };
            self.existing(&generator, source.part, source.n_problems, "train.rollouts")?
        } else {
            let part = source.part();
            let is_it = |of: &&Generator| Some(&of.name) == source.generator.as_ref();
            let generator = file.generators.iter().find(is_it).cloned().unwrap_or_default();
            self.sampled(&generator, &part, Purpose::Training, seed)?
        };
        let answers = answers.first(None, source.n_responses);
        self.answers.insert((Purpose::Training, seed, String::new()), answers.clone());
        Ok(answers)
    }

    /// The candidates of each generator on a split; all generators answer the same problems.
    pub(super) fn candidate_sets(
        &mut self,
        purpose: Purpose,
        seed: u64,
    ) -> Result<Rc<Vec<CandidateSet>>> {
        if let Some(found) = self.sets.get(&(purpose, seed)) {
            return Ok(Rc::clone(found));
        }
        let file = Rc::clone(&self.file);
        let part = match purpose {
            Purpose::Validation => &file.validation,
            Purpose::Test | Purpose::Training => &file.test,
        };
        let n = part.n_candidates.or(file.ns.iter().max().copied());
        let mut all = Vec::new();
        for generator in &file.generators {
            let answers = if generator.engine.is_some() {
                self.sampled(generator, part, purpose, seed)?
            } else {
                self.existing(generator, part.part, part.n_problems, &generator.name)?
            };
            all.push((generator.name.clone(), answers.first(None, n)));
        }
        self.check_overlap(purpose, seed, &all)?;
        let all = in_common(all);
        let largest = file.ns.iter().max().copied().unwrap_or_default();
        let mut sets = Vec::new();
        for (name, answers) in all {
            let fewest = answers.rollouts.iter().map(|rollout| rollout.completions.len()).min();
            if fewest.is_none_or(|fewest| fewest < largest) {
                return Err(Error::CastData {
                    what: format!(
                        "generator `{name}` has {} {} problems, with {} candidates at least; best \
                         of {largest} is asked for",
                        answers.rollouts.len(),
                        purpose.name(),
                        fewest.unwrap_or_default(),
                    ),
                    hint: "lower `ns`, or widen the `part` of the split",
                });
            }
            let digest = digest_of(&answers.rollouts);
            sets.push(CandidateSet { name, answers, digest });
        }
        let sets = Rc::new(sets);
        self.sets.insert((purpose, seed), Rc::clone(&sets));
        Ok(sets)
    }

    /// The true first error of each candidate, `[n_problems][n_candidates]`, if the cast says that step
    /// labels are true.
    pub(super) fn first_errors(&self, set: &CandidateSet) -> Result<Option<FirstErrors>> {
        let generator = self.file.generators.iter().find(|of| of.name == set.name);
        if generator.is_none_or(|of| of.truth == StepTruth::Unknown) {
            return Ok(None);
        }
        let unknown = |rollout: &Rollout, idx: usize| Error::CastData {
            what: format!(
                "generator `{}`: candidate {} of problem `{}` has no label of a step before its first \
                 wrong one, so its first error is not known",
                set.name,
                idx + 1,
                rollout.name()
            ),
            hint: "leave out `truth = \"step_labels\"`, or give candidates whose steps are labelled up \
                   to the first wrong one",
        };
        let mut all = Vec::new();
        for rollout in &*set.answers.rollouts {
            let labels = rollout.step_labels()?.ok_or_else(|| unknown(rollout, 0))?;
            let mut of_problem = Vec::new();
            for (idx, labels) in labels.iter().enumerate() {
                let first = labels.iter().position(|label| label.is_some_and(|label| label < 0.5));
                let known = &labels[..first.unwrap_or(labels.len())];
                if known.iter().any(Option::is_none) || labels.is_empty() {
                    return Err(unknown(rollout, idx));
                }
                of_problem.push(first);
            }
            all.push(of_problem);
        }
        Ok(Some(all))
    }

    /// No problem may be in the training data and in a split that is evaluated, nor in both splits.
    fn check_overlap(
        &mut self,
        purpose: Purpose,
        seed: u64,
        candidates: &[(String, Answers)],
    ) -> Result<()> {
        let mut others = vec![(Purpose::Training, self.training_answers(seed)?.rollouts)];
        for other in [Purpose::Validation, Purpose::Test] {
            if let Some(sets) = self.sets.get(&(other, seed)).filter(|_| other != purpose) {
                let of = |set: &CandidateSet| (other, Rc::clone(&set.answers.rollouts));
                others.extend(sets.iter().map(of));
            }
        }
        for (other, known) in others {
            let known: HashSet<&str> = known.iter().map(|rollout| &*rollout.prompt).collect();
            let rollouts = candidates.iter().flat_map(|(_, answers)| &*answers.rollouts);
            let shared = rollouts.filter(|rollout| known.contains(&*rollout.prompt)).count();
            if shared > 0 {
                return Err(Error::CastData {
                    what: format!(
                        "{shared} problems of the {} split are in the {} data too",
                        purpose.name(),
                        other.name()
                    ),
                    hint: "give `train`, `validation` and `test` a `part` each, such as [0.0, 0.5], \
                           [0.5, 0.6] and [0.6, 1.0]",
                });
            }
        }
        Ok(())
    }

    /// Problems with their responses from files, each graded if it has no labels.
    fn existing(
        &mut self,
        generator: &Generator,
        part: Option<[f64; 2]>,
        n_problems: Option<usize>,
        what: &str,
    ) -> Result<Answers> {
        let all = self.read(&generator.candidates, &generator.shape)?;
        let mut seen = HashSet::new();
        let mut picked: Vec<Rollout> = all
            .into_iter()
            .filter(|rollout| !rollout.completions.is_empty())
            .filter(|rollout| is_within(&rollout.prompt, part))
            .filter(|rollout| seen.insert(rollout.prompt.clone()))
            .collect();
        picked.sort_by_key(|rollout| hash(&[&rollout.prompt]));
        picked.truncate(n_problems.unwrap_or(usize::MAX));
        let mut writers = Vec::new();
        for rollout in &mut picked {
            let mut own = match &generator.writers {
                Some(column) => Some(writers_of(rollout, column, what)?),
                None => None,
            };
            if generator.order == Order::Shuffled {
                let mut order: Vec<usize> = (0..rollout.completions.len()).collect();
                order.sort_by_key(|&idx| {
                    hash(&[&rollout.prompt, &rollout.completions[idx].text, &idx.to_string()])
                });
                own = own.map(|own| order.iter().map(|&idx| own[idx].clone()).collect());
                *rollout = rollout.with_completions(&order);
            }
            if let Some(column) = &generator.writers {
                rollout.extra.shift_remove(column);
            }
            writers.extend(own);
            if rollout.completions.iter().any(|completion| completion.label.is_none()) {
                if rollout.reference.trim().is_empty() {
                    return Err(Error::CastData {
                        what: format!(
                            "problem `{}` of `{what}` has neither labels nor a reference answer",
                            rollout.name()
                        ),
                        hint: "grade the file first with `gratis grade`",
                    });
                }
                grade(rollout, &self.file.grading, &mut GradeCounts::default());
            }
        }
        let writers = generator.writers.as_ref().map(|_| Rc::new(writers));
        Ok(Answers { rollouts: Rc::new(picked), writers })
    }

    /// The problems of a split, in the order of their hashes.
    pub(super) fn problems(&mut self, part: &Part) -> Result<Vec<Rollout>> {
        let all = self.read(&part.problems, &part.shape)?;
        let mut seen = HashSet::new();
        let mut problems: Vec<Rollout> = all
            .into_iter()
            .filter(|rollout| is_within(&rollout.prompt, part.part))
            .filter(|rollout| seen.insert(rollout.prompt.clone()))
            .map(problem)
            .collect();
        problems.sort_by_key(|problem| hash(&[&problem.prompt]));
        problems.truncate(part.n_problems.unwrap_or(usize::MAX));
        Ok(problems)
    }

    fn read(&mut self, files: &[PathBuf], shape: &ShapeSettings) -> Result<Vec<Rollout>> {
        let paths: Vec<PathBuf> = files.iter().map(|path| self.file.resolve_file(path)).collect();
        let reading =
            Reading { on_invalid: OnInvalid::Stop, shape: shape.clone(), ..Reading::default() };
        let files = RolloutFiles::new(paths, reading);
        Ok(files.read().collect::<Result<Vec<_>, _>>()?)
    }

    /// Samples and grades the responses of an engine, chunk by chunk.
    fn sampled(
        &mut self,
        generator: &Generator,
        part: &Part,
        purpose: Purpose,
        seed: u64,
    ) -> Result<Answers> {
        let problems = self.problems(part)?;
        let n_samples = part.n_candidates.or(self.file.ns.iter().max().copied()).unwrap_or(1);
        let engine = generator.engine.clone().unwrap_or_default();
        let place = self.file.resolve(&engine);
        let sampling = self.file.sampling;
        let temperature = match purpose {
            Purpose::Training => sampling.train_temperature,
            Purpose::Validation | Purpose::Test => sampling.temperature,
        };
        let mut model: Option<Model> = None;
        let mut rollouts = Vec::new();
        let mut seconds = Some(0.0);
        let stage = format!("samples of {}, {}", generator.name, purpose.name());
        self.observer.stage(&stage, Some(problems.len() as u64));
        for (chunk, first) in problems.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let prompts: Vec<&str> = chunk.iter().map(|problem| &*problem.prompt).collect();
            let key = json!({ "engine": engine, "prompts": hash_text(&prompts),
                              "prompt": self.file.prompt, "sampling": sampling,
                              "temperature": temperature, "n_samples": n_samples,
                              "grading": self.file.grading, "first": first, "seed": seed });
            let artefact = if let Some(found) = self.find("samples", &key)? {
                self.observer.resumed(chunk.len() as u64);
                found
            } else {
                let model = self.loaded(&mut model, &place)?;
                let settings = sampling_settings(sampling, temperature, model, seed)?;
                let before = self.observer.processor_seconds();
                let chunk = sample(&self.file, model, chunk, first, settings, n_samples)?;
                // Of an engine elsewhere this is the time of the requests, which says nothing.
                let is_here = !engine.to_string_lossy().contains("://");
                let seconds = crate::cache::since(before, self.observer).filter(|_| is_here);
                self.store.make_value(SECONDS_OF_SAMPLES, &key, &seconds)?;
                self.observer.advance(chunk.len() as u64, &[]);
                self.store.make("samples", &key, |draft| {
                    crate::trainer::write_rollouts(&draft.join(ROLLOUTS), &chunk)
                })?
            };
            rollouts.extend(read_lines(&artefact.join(ROLLOUTS))?);
            let of_chunk: Option<f64> = self.find_value(SECONDS_OF_SAMPLES, &key)?.flatten();
            seconds = seconds.zip(of_chunk).map(|(sum, of_chunk)| sum + of_chunk);
        }
        if let Some(seconds) = seconds {
            self.sampling_seconds.insert((purpose, seed, generator.name.clone()), seconds);
        }
        Ok(Answers { rollouts: Rc::new(rollouts), writers: None })
    }
}

impl OwnCast<'_> {
    /// The training responses of a seed with Math-Shepherd's soft labels from their generator, chunk by
    /// chunk.
    pub(super) fn annotated(&mut self, seed: u64) -> Result<Answers> {
        let cached = (Purpose::Training, seed, "annotated".to_owned());
        if let Some(found) = self.answers.get(&cached) {
            return Ok(found.clone());
        }
        let answers = self.training_answers(seed)?;
        let file = Rc::clone(&self.file);
        let is_it = |of: &&Generator| Some(&of.name) == file.train.generator.as_ref();
        let engine = file.generators.iter().find(is_it).and_then(|of| of.engine.clone());
        let engine = engine.unwrap_or_default();
        let place = file.resolve(&engine);
        let mut model: Option<Model> = None;
        let mut labelled = Vec::new();
        self.observer.stage("continuations", Some(answers.rollouts.len() as u64));
        for (chunk, first) in answers.rollouts.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let key = json!({ "engine": engine, "rollouts": digest_of(chunk), "seed": seed,
                              "prompt": file.prompt, "sampling": file.sampling, "first": first,
                              "annotation": file.annotation, "grading": file.grading,
                              "split": file.step_split.to_string() });
            let artefact = if let Some(found) = self.find("labels", &key)? {
                self.observer.resumed(chunk.len() as u64);
                found
            } else {
                let model = self.loaded(&mut model, &place)?;
                let encoder = file.encoder(model)?;
                let mut monte_carlo = MonteCarlo {
                    engine: model.generate(),
                    encoder,
                    sampling: sampling_settings(
                        file.sampling,
                        file.sampling.train_temperature,
                        model,
                        seed,
                    )?,
                    n_continuations: file.annotation.n_continuations,
                    labels: LabelKind::Soft,
                    step_split: file.step_split.clone(),
                    grading: file.grading.clone(),
                };
                let (chunk, counts) = monte_carlo.annotate_counted(chunk, first, &mut Silent)?;
                counts.check()?;
                self.observer.advance(chunk.len() as u64, &[]);
                self.store.make("labels", &key, |draft| {
                    crate::trainer::write_rollouts(&draft.join(ROLLOUTS), &chunk)
                })?
            };
            labelled.extend(read_lines(&artefact.join(ROLLOUTS))?);
        }
        let answers = Answers { rollouts: Rc::new(labelled), writers: None };
        self.answers.insert(cached, answers.clone());
        Ok(answers)
    }

    /// The test problems: those of the problem files, or else those of the candidates.
    pub(super) fn test_problems(&mut self, seed: u64) -> Result<Vec<Rollout>> {
        let file = Rc::clone(&self.file);
        if !file.test.problems.is_empty() {
            return self.problems(&file.test);
        }
        let sets = self.candidate_sets(Purpose::Test, seed)?;
        let rollouts = sets.first().map(|set| Rc::clone(&set.answers.rollouts));
        Ok(rollouts.iter().flat_map(|all| all.iter().cloned()).map(problem).collect())
    }

    /// The share of correct answers that a model gives to each test problem.
    pub(super) fn pass_at_1(
        &mut self,
        policy: &Scored,
        seed: u64,
        n_samples: usize,
    ) -> Result<Vec<f64>> {
        let file = Rc::clone(&self.file);
        let problems = self.test_problems(seed)?;
        let mut model: Option<Model> = None;
        let mut shares = Vec::new();
        self.observer.stage("samples of the policy", Some(problems.len() as u64));
        for (chunk, first) in problems.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let prompts: Vec<&str> = chunk.iter().map(|problem| &*problem.prompt).collect();
            let key = json!({ "policy": policy.key, "prompts": hash_text(&prompts), "seed": seed,
                              "prompt": file.prompt, "sampling": file.sampling, "first": first,
                              "n_samples": n_samples, "grading": file.grading });
            if let Some(found) = self.find_value::<Vec<f64>>("policy", &key)? {
                self.observer.resumed(chunk.len() as u64);
                shares.extend(found);
                continue;
            }
            if self.plan.is_some() {
                let start = self.start()?;
                let size = (super::expected::EXPECTED_PROMPT, file.sampling.max_new_tokens);
                let work = Work::expected(&start, chunk.len(), n_samples, size);
                let row = self.row.clone();
                if let Some(plan) = &mut self.plan {
                    plan.sample(&row, &format!("as a policy, from problem {first}"), work);
                }
                shares.extend(vec![0.0; chunk.len()]);
                continue;
            }
            let model = self.loaded(&mut model, &policy.place)?;
            let settings =
                sampling_settings(file.sampling, file.sampling.temperature, model, seed)?;
            let rollouts = sample(&file, model, chunk, first, settings, n_samples)?;
            let mean = |rollout: &Rollout| Ok(mean_pass_at_1(&rollout.labels("pass@1")?));
            let found = rollouts.iter().map(mean).collect::<Result<Vec<f64>>>()?;
            self.observer.advance(chunk.len() as u64, &[]);
            self.store.make_value("policy", &key, &found)?;
            shares.extend(found);
        }
        Ok(shares)
    }
}

/// The problem of a rollout.
fn problem(rollout: Rollout) -> Rollout {
    Rollout { completions: Vec::new(), ..rollout }
}

/// How a model of the cast is sampled at a temperature.
pub(super) fn sampling_settings(
    sampling: Sampling,
    temperature: f32,
    model: &Model,
    seed: u64,
) -> Result<SamplingSettings> {
    Ok(SamplingSettings {
        temperature,
        top_p: sampling.top_p,
        top_k: 0,
        max_new_tokens: sampling.max_new_tokens,
        stop_tokens: model.stop_tokens()?,
        seed,
    })
}

/// Samples and grades.
pub(super) fn sample(
    file: &super::CastFile,
    model: &Model,
    problems: &[Rollout],
    first: u64,
    settings: SamplingSettings,
    n_samples: usize,
) -> Result<Vec<Rollout>> {
    let encoder = file.encoder(model)?;
    let provenance = json!({ "model": model.place().display_name(),
                             "temperature": settings.temperature, "top_p": settings.top_p,
                             "max_tokens": settings.max_new_tokens, "seed": settings.seed });
    let engine = model.generate();
    let sampler = Sampler { engine, encoder, settings, n_samples, provenance };
    let mut rollouts = sampler.sample(problems, first, &mut Silent)?;
    for rollout in &mut rollouts {
        rollout.completions.iter_mut().for_each(|completion| completion.token_ids = None);
        grade(rollout, &file.grading, &mut GradeCounts::default());
    }
    Ok(rollouts)
}

/// Rollouts as they were written, without the reader's checks.
pub(super) fn read_lines(path: &std::path::Path) -> Result<Vec<Rollout>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let parse = |line: &str| {
        serde_json::from_str::<Rollout>(line)
            .map_err(|source| Error::Json { path: path.to_owned(), source })
    };
    text.lines().map(parse).collect()
}

/// The problems that every generator answers, in the same order for all.
fn in_common(all: Vec<(String, Answers)>) -> Vec<(String, Answers)> {
    let prompts = |answers: &Answers| -> HashSet<String> {
        answers.rollouts.iter().map(|rollout| rollout.prompt.clone()).collect()
    };
    let mut common: Option<HashSet<String>> = None;
    for (_, answers) in &all {
        let own = prompts(answers);
        common = Some(match common {
            Some(common) => common.intersection(&own).cloned().collect(),
            None => own,
        });
    }
    let common = common.unwrap_or_default();
    let keep = |answers: Answers| {
        let by_hash: BTreeMap<[u8; 32], usize> = answers
            .rollouts
            .iter()
            .enumerate()
            .filter(|(_, rollout)| common.contains(&rollout.prompt))
            .map(|(idx, rollout)| (hash(&[&rollout.prompt]), idx))
            .collect();
        let idxs: Vec<usize> = by_hash.into_values().collect();
        Answers {
            rollouts: Rc::new(idxs.iter().map(|&idx| answers.rollouts[idx].clone()).collect()),
            writers: answers
                .writers
                .map(|writers| Rc::new(idxs.iter().map(|&idx| writers[idx].clone()).collect())),
        }
    };
    all.into_iter().map(|(name, answers)| (name, keep(answers))).collect()
}

/// The writers of a problem's responses.
fn writers_of(rollout: &Rollout, column: &str, what: &str) -> Result<Vec<String>> {
    let named = rollout.extra.get(column).and_then(Value::as_array);
    let named: Option<Vec<String>> =
        named.and_then(|all| all.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    named.filter(|named| named.len() == rollout.completions.len()).ok_or_else(|| Error::CastData {
        what: format!(
            "`{what}`: the column `{column}` of problem `{}` should name the writer of each of its {} \
             responses",
            rollout.name(),
            rollout.completions.len()
        ),
        hint: "`writers` names a column with a list of texts",
    })
}

/// Whether a problem is in this part of all: its hash as a fraction lies within it.
fn is_within(prompt: &str, part: Option<[f64; 2]>) -> bool {
    let Some([from, to]) = part else { return true };
    let mut first = [0; 8];
    first.copy_from_slice(&hash(&[prompt])[..8]);
    let share = u64::from_be_bytes(first) as f64 / 2f64.powi(64);
    from <= share && share < to
}

/// SHA-256 of texts.
pub(super) fn hash(texts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (idx, text) in texts.iter().enumerate() {
        if idx > 0 {
            digest.update([0]);
        }
        digest.update(text.as_bytes());
    }
    digest.finalize().into()
}

/// The same in hexadecimal.
pub(super) fn hash_text(texts: &[&str]) -> String {
    store::hex(&hash(texts))
}

/// SHA-256 of all prompts and responses, with their labels.
pub(super) fn digest_of(rollouts: &[Rollout]) -> String {
    let mut texts = Vec::new();
    for rollout in rollouts {
        texts.push(rollout.prompt.as_str());
        for completion in &rollout.completions {
            texts.push(&completion.text);
            texts.push(if completion.label == Some(true) { "1" } else { "0" });
        }
    }
    hash_text(&texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_cover_all_problems() {
        let prompts: Vec<String> = (0..500).map(|n| format!("problem {n}")).collect();
        let within = |part| prompts.iter().filter(|prompt| is_within(prompt, Some(part))).count();
        let (first, second) = (within([0.0, 0.5]), within([0.5, 1.0]));
        assert_eq!(first + second, 500);
        assert!((200..300).contains(&first), "{first}");
        // The share of a prompt is the first eight bytes of its SHA-256, whatever the file.
        assert!(is_within("abc", Some([0.7, 0.8])), "ba7816bf... is 0.728 of the whole");
    }

    #[test]
    fn generators_are_compared_on_the_problems_that_all_answer() {
        let answers = |prompts: &[&str]| {
            let rollout = |prompt: &&str| Rollout {
                prompt: (*prompt).to_owned(),
                completions: vec!["a".into()],
                ..Rollout::default()
            };
            let writers = prompts.iter().map(|prompt| vec![format!("of {prompt}")]).collect();
            Answers {
                rollouts: Rc::new(prompts.iter().map(rollout).collect()),
                writers: Some(Rc::new(writers)),
            }
        };
        let all = vec![
            ("a".to_owned(), answers(&["p", "q", "r"])),
            ("b".to_owned(), answers(&["r", "s", "p"])),
        ];
        let common = in_common(all);
        let prompts = |idx: usize| -> Vec<String> {
            common[idx].1.rollouts.iter().map(|rollout| rollout.prompt.clone()).collect()
        };
        assert_eq!(prompts(0).len(), 2);
        assert_eq!(prompts(0), prompts(1), "the same problems in the same order");
        for (rollout, writers) in
            common[1].1.rollouts.iter().zip(&**common[1].1.writers.as_ref().expect("writers"))
        {
            assert_eq!(writers[0], format!("of {}", rollout.prompt), "writers follow");
        }
    }
}
