//! The models of a cast: trained once in a run folder of the cache, which an interrupted run resumes, and
//! scored chunk by chunk. The log-probabilities of each model are computed once for each chunk, so
//! rows that differ in beta, rule or reference share them.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gratis::data::{DataOperation, ProblemScores, Rollout, ScorePart};
use gratis::encoding::{Corpus, log_probs};
use gratis::observer::Silent;
use gratis::reward::{ValueRule, log_ratios};
use gratis::reward_model::{
    LoadOptions, Model, OpenOptions, ReferenceChoice, RewardModel as Opened, ScoreBy, Weights, open,
};
use gratis::run::{RewardKind, TrainPlace, TrainSettings, train};
use gratis::scoring::{Solution, TokenRewards, scores_of, solutions};
use gratis::training::OnExisting;
use gratis::{Place, PlaceKind};
use gratis_model::WeightType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::OwnCast;
use super::data::{Answers, ROLLOUTS, digest_of, hash_text};
use super::plan::Work;
use crate::cache::store;
use crate::error::{Error, Result};
use crate::progress::PartOfCommand;
use crate::rows::{Factor, Recipe, TrainingReference};

/// File with the log-probabilities of a chunk.
const LOG_PROBS: &str = "log_probs.f32";
/// Kind of the artefact with the processor seconds of the log-probabilities of a chunk.
const SECONDS_OF_LOG_PROBS: &str = "logprobs-seconds";
/// Problems scored together: an interrupted run loses one such chunk.
const CHUNK: usize = 8;
/// Pairs per problem that pairwise objectives learn from, as in the tiny world.
const PAIRS_PER_PROMPT: usize = 4;
/// Steps between two checkpoints of a training, unless the file says otherwise.
const CHECKPOINT_EVERY: u64 = 10;

/// A model to score with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scored {
    /// Where it is.
    pub(super) place: PathBuf,
    /// What its numbers depend on.
    pub(super) key: String,
}

/// How rewards are read from a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// `beta * log pi/pi_ref`, or without a reference.
    LogRatio {
        /// The policy.
        policy: Scored,
        /// Factor.
        beta: f64,
        /// Whether the reference is in the denominator.
        reference: WithReference,
    },
    /// As `gratis score` scores it: heads, label tokens.
    Own(Scored),
    /// Self-certainty.
    SelfCertainty(Scored),
}

/// Whether the reference is in the denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WithReference {
    Yes,
    No,
}

impl Form {
    pub(super) fn key(&self) -> Value {
        match self {
            Self::LogRatio { policy, beta, reference } => {
                json!({ "log_ratio": policy.key, "beta": beta, "reference": reference })
            }
            Self::Own(model) => json!({ "own": model.key }),
            Self::SelfCertainty(model) => json!({ "self_certainty": model.key }),
        }
    }
}

/// What is kept of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainRecord {
    /// Its run folder, below the cache.
    pub(super) run: String,
    /// Responses it could learn from, and how many of them are correct.
    pub(super) n_responses: usize,
    /// Correct ones.
    pub(super) n_correct: usize,
    /// Problems.
    pub(super) n_problems: usize,
    /// Optimizer steps.
    pub(super) n_steps: u64,
    /// Processor seconds, where they were measured.
    pub(super) processor_seconds: Option<f64>,
}

/// A training: the settings of its row, and what a recipe changes.
#[derive(Debug, Clone)]
pub(super) struct Training {
    /// The settings, without model, data and prompt.
    pub(super) settings: TrainSettings,
    /// What a recipe changes of the data and the reference.
    pub(super) recipe: Option<Recipe>,
}

/// Rollouts with their corpus and their responses in it.
type EncodedChunk<'r> = (&'r [Rollout], Corpus, Vec<Solution>);

impl OwnCast<'_> {
    /// Loads a model, found by what the file calls it.
    pub(super) fn load(&mut self, place: &Path) -> Result<Model> {
        let options = LoadOptions {
            n_threads: self.machine.n_threads,
            weights: Weights::Auto,
            ..LoadOptions::default()
        };
        Ok(Model::load(place, options, self.machine.hub, self.observer)?)
    }

    /// The model at `place`, loaded when it is first needed.
    pub(super) fn loaded<'m>(
        &mut self,
        model: &'m mut Option<Model>,
        place: &Path,
    ) -> Result<&'m Model> {
        let found = match model.take() {
            Some(found) => found,
            None => self.load(place)?,
        };
        Ok(model.insert(found))
    }

    /// The model that reward models start from. A GGUF file becomes a folder first, since all its
    /// parameters can be trained there; its scores have the same bits.
    pub(super) fn start(&mut self) -> Result<Rc<Model>> {
        if let Some(start) = &self.start {
            return Ok(Rc::clone(start));
        }
        let given = self.file.resolve(&self.file.start);
        let mut place = given.clone();
        if Place::find(&given, self.machine.hub)?.kind == PlaceKind::Gguf {
            let model = self.load(&given)?;
            let key = json!({ "gguf": model.hash()? });
            let folder = if let Some(folder) = self.find("start", &key)? {
                folder
            } else {
                self.store.make("start", &key, |draft| {
                    model.write_merged(&draft.join("model"), WeightType::F32)?;
                    Ok(())
                })?
            };
            place = folder.join("model");
        }
        let start = Rc::new(self.load(&place)?);
        self.start_place = place;
        self.start = Some(Rc::clone(&start));
        Ok(start)
    }

    /// The denominator of log-ratios.
    pub(super) fn reference(&mut self) -> Result<Scored> {
        if let Some(reference) = &self.reference {
            return Ok(reference.clone());
        }
        let start = self.start()?;
        let reference = match self.file.reference.clone() {
            Some(given) => {
                let place = self.file.resolve(&given);
                let key = self.load(&place)?.hash()?;
                Scored { place, key }
            }
            None => Scored { place: self.start_place.clone(), key: start.hash()? },
        };
        self.reference = Some(reference.clone());
        Ok(reference)
    }

    /// The model of a training, trained if need be.
    pub(super) fn trained(&mut self, seed: u64, training: &Training) -> Result<Scored> {
        let start = self.start()?;
        let reference = self.reference()?;
        let mut settings = training.settings.clone();
        let recipe = training.recipe.as_ref();
        let by_steps = matches!(settings.kind, RewardKind::PrmHead | RewardKind::PrmToken);
        let answers = if by_steps && self.file.train.generator.is_some() {
            self.annotated(seed)?
        } else {
            self.training_answers(seed)?
        };
        let answers = answers.first(
            recipe.and_then(|recipe| recipe.n_problems),
            recipe.and_then(|recipe| recipe.n_responses),
        );
        let is_implicit = settings.kind == RewardKind::Implicit;
        if let Some(recipe) = recipe {
            settings.operations.extend(operations(recipe.factor, seed)?);
        }
        let in_pairs = match settings.kind {
            RewardKind::Implicit => settings.objective.needs_pairs(),
            RewardKind::Orm => settings.baseline.value_loss.needs_pairs(),
            RewardKind::PrmHead | RewardKind::PrmToken => false,
        };
        let is_made = |of: &DataOperation| matches!(of, DataOperation::MakePairs { .. });
        if in_pairs && !settings.operations.iter().any(is_made) {
            let per_prompt = Some(PAIRS_PER_PROMPT);
            settings.operations.push(DataOperation::MakePairs { per_prompt, seed });
        }
        settings.optimization.seed = seed;
        settings.prompt = self.file.prompt.clone();
        settings.step_split = self.file.step_split.clone();
        settings.on_overlong = self.file.on_overlong;
        let without = recipe.is_some_and(|of| of.reference == TrainingReference::None);
        let key = json!({ "start": start.hash()?, "settings": settings,
                          "reference": is_implicit.then_some(if without { "none" } else {
                              &*reference.key }),
                          "data": data_of(&answers.rollouts) });
        // An artefact's name depends on its key alone, so a run is known before it is trained.
        let run = store::name(&self.store.place_of("run", &key));
        let scored = Scored { place: self.place_of_run(&run), key: run.clone() };
        if let Some(record) = self.find_value::<TrainRecord>("trained", &key)? {
            if self.run_folder(&run).join("model").exists() {
                self.note_record(record);
                return Ok(scored);
            }
            self.observer.note(&format!("the run `{run}` is gone from the cache; training again"));
        }
        if let Some(plan) = &mut self.plan {
            let work = Work::of_training(&self.file, &start, &answers, &settings)?;
            plan.train(&self.row, &run, work);
            return Ok(scored);
        }
        let data = self.store_answers(&answers)?;
        settings.model = Some(self.start_place.clone());
        settings.data = vec![data.join(ROLLOUTS)];
        if is_implicit {
            settings.reference = match (without, &self.file.reference) {
                (true, _) => Some("none".into()),
                (false, Some(_)) => Some(reference.place.clone()),
                (false, None) => None,
            };
        }
        if settings.checkpoints == gratis::training::CheckpointSettings::default() {
            settings.checkpoints.checkpoint_every = CHECKPOINT_EVERY;
            settings.checkpoints.keep_last = 1;
        }
        let folder = self.run_folder(&run);
        let cache = self.folder.join("reference");
        fs::create_dir_all(&cache).map_err(Error::io("create", &cache))?;
        let place = TrainPlace {
            run: &folder,
            on_existing: OnExisting::Resume,
            n_threads: self.machine.n_threads,
            hub: self.machine.hub,
            scratch: self.machine.scratch,
            cache: Some(&cache),
            logs: &[],
            now: 0.0,
        };
        let before = self.observer.processor_seconds();
        let summary = train(&settings, place, &mut PartOfCommand::new(self.observer))?;
        let now = self.observer.processor_seconds().zip(before).map(|(now, before)| now - before);
        let record = TrainRecord {
            run,
            n_responses: answers.n_responses(),
            n_correct: answers.n_correct(),
            n_problems: answers.rollouts.len(),
            n_steps: summary.n_steps,
            processor_seconds: now.map(|now| now + summary.processor_seconds_before),
        };
        self.store.make_value("trained", &key, &record)?;
        // Only the model is needed from now on.
        let checkpoints = folder.join("checkpoints");
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).map_err(Error::io("remove", &checkpoints))?;
        }
        self.note_record(record);
        Ok(scored)
    }

    fn note_record(&mut self, record: TrainRecord) {
        if !self.trainings.iter().any(|(_, known)| known.run == record.run) {
            self.trainings.push((self.row.clone(), record));
        }
    }

    fn run_folder(&self, run: &str) -> PathBuf {
        self.folder.join("runs").join(run)
    }

    /// Where a trained model is scored: its folder, or the engine that serves it.
    fn place_of_run(&self, run: &str) -> PathBuf {
        let folder = self.run_folder(run);
        match &self.file.served {
            None => folder,
            Some(pattern) => {
                let model = folder.join("model").display().to_string();
                pattern.replace("{run}", run).replace("{folder}", &model).into()
            }
        }
    }

    fn store_answers(&mut self, answers: &Answers) -> Result<PathBuf> {
        let key = json!({ "rollouts": data_of(&answers.rollouts) });
        if let Some(found) = self.find("data", &key)? {
            return Ok(found);
        }
        self.store.make("data", &key, |draft| {
            crate::trainer::write_rollouts(&draft.join(ROLLOUTS), &answers.rollouts)
        })
    }

    /// The scores of `rollouts`; `own_steps` if they bring their steps, which are then not split.
    pub(super) fn score(
        &mut self,
        form: &Form,
        rule: ValueRule,
        rollouts: &[Rollout],
    ) -> Result<Vec<ProblemScores>> {
        match form {
            Form::LogRatio { policy, beta, reference } => {
                self.log_ratio_scores(policy, *beta, *reference, rule, rollouts)
            }
            Form::Own(model) => self.own_scores(model, ScoreBy::Reward, rollouts),
            Form::SelfCertainty(model) => self.own_scores(model, ScoreBy::SelfCertainty, rollouts),
        }
    }

    fn log_ratio_scores(
        &mut self,
        policy: &Scored,
        beta: f64,
        with: WithReference,
        rule: ValueRule,
        rollouts: &[Rollout],
    ) -> Result<Vec<ProblemScores>> {
        let chunks = self.encoded(rollouts)?;
        let corpora: Vec<&Corpus> = chunks.iter().map(|(_, corpus, _)| corpus).collect();
        let of_policy = self.log_probs(policy, &corpora)?;
        let of_reference = match with {
            WithReference::No => None,
            WithReference::Yes => {
                let reference = self.reference()?;
                Some(self.log_probs(&reference, &corpora)?)
            }
        };
        let mut all = Vec::new();
        if self.plan.is_some() {
            return Ok(all);
        }
        for (idx, (chunk, corpus, solutions)) in chunks.iter().enumerate() {
            let gains = |solution: &Solution| {
                let response = solution.response;
                let reference = of_reference.as_ref().map(|of| &of[idx][response][..]);
                rule.gains(log_ratios(&of_policy[idx][response], reference), &solution.masked)
            };
            all.extend(scores_of(chunk, solutions, corpus, beta, TokenRewards::Omit, gains)?);
        }
        Ok(all)
    }

    /// Rollouts as the start reads them, chunk by chunk.
    fn encoded<'r>(&mut self, rollouts: &'r [Rollout]) -> Result<Vec<EncodedChunk<'r>>> {
        let start = self.start()?;
        let file = Rc::clone(&self.file);
        let encoder = file.encoder(&start)?;
        let mut chunks = Vec::new();
        for chunk in rollouts.chunks(CHUNK) {
            let mut corpus = Corpus::default();
            let solutions =
                solutions(chunk, &encoder, &file.step_split, ScorePart::All, &mut corpus)?;
            chunks.push((chunk, corpus, solutions));
        }
        Ok(chunks)
    }

    /// Processor seconds that the log-probabilities of `rollouts` took, where all were measured.
    pub(super) fn scoring_seconds(
        &mut self,
        of: &Scored,
        rollouts: &[Rollout],
    ) -> Result<Option<f64>> {
        let budget = self.file.batch_tokens;
        let mut sum = 0.0;
        for (_, corpus, _) in self.encoded(rollouts)? {
            let key = json!({ "model": of.key, "corpus": corpus.digest(), "batch": budget });
            let seconds: Option<f64> = self.find_value(SECONDS_OF_LOG_PROBS, &key)?.flatten();
            let Some(seconds) = seconds else { return Ok(None) };
            sum += seconds;
        }
        Ok(Some(sum))
    }

    /// The log-probabilities of a model on each corpus: `[n_corpora][n_responses][n_tokens]`.
    fn log_probs(&mut self, of: &Scored, corpora: &[&Corpus]) -> Result<Vec<Vec<Vec<f32>>>> {
        let budget = self.file.batch_tokens;
        let mut model: Option<Model> = None;
        let mut all = Vec::new();
        let stage = format!("log-probabilities of {}", self.name_of(of));
        let mut has_begun = false;
        for corpus in corpora {
            let key = json!({ "model": of.key, "corpus": corpus.digest(), "batch": budget });
            let artefact = match self.find("logprobs", &key)? {
                Some(found) => found,
                None if self.plan.is_some() => {
                    let start = self.start()?;
                    let work = Work::of_corpus(&start, corpus, budget)?;
                    if let Some(plan) = &mut self.plan {
                        plan.score(&self.row, &of.key, &corpus.digest(), work);
                    }
                    continue;
                }
                None => {
                    if !has_begun {
                        self.observer.stage(&stage, Some(corpora.len() as u64));
                        self.observer.resumed(all.len() as u64);
                        has_begun = true;
                    }
                    if model.is_none() {
                        let start = (of.place == self.start_place).then(|| self.start());
                        model = match start {
                            Some(_) => None,
                            None => Some(self.load(&of.place)?),
                        };
                    }
                    let start = self.start()?;
                    let engine = model.as_ref().map_or_else(|| start.score(), Model::score);
                    let before = self.observer.processor_seconds();
                    let values = log_probs(engine, corpus, budget, &mut Silent)?;
                    let seconds = crate::cache::since(before, self.observer);
                    self.store.make_value(SECONDS_OF_LOG_PROBS, &key, &seconds)?;
                    self.observer.advance(1, &[]);
                    let bytes: Vec<u8> =
                        values.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
                    self.store.make("logprobs", &key, |draft| {
                        Ok(gratis_model::atomic::write(&draft.join(LOG_PROBS), &bytes)?)
                    })?
                }
            };
            all.push(read_log_probs(&artefact.join(LOG_PROBS), corpus)?);
        }
        Ok(all)
    }

    /// A model's name in the progress.
    fn name_of(&self, of: &Scored) -> String {
        if of.place == self.start_place { "the start".to_owned() } else { self.row.clone() }
    }

    /// Scores as `gratis score` makes them.
    fn own_scores(
        &mut self,
        of: &Scored,
        by: ScoreBy,
        rollouts: &[Rollout],
    ) -> Result<Vec<ProblemScores>> {
        let mut opened: Option<Opened> = None;
        let mut all = Vec::new();
        let n_chunks = rollouts.len().div_ceil(CHUNK) as u64;
        let mut has_begun = false;
        for chunk in rollouts.chunks(CHUNK) {
            let key = json!({ "model": of.key, "by": by, "rollouts": digest_of(chunk),
                              "steps": steps_of(chunk),
                              "split": self.file.step_split.to_string(),
                              "prompt": self.file.prompt, "overlong": self.file.on_overlong,
                              "batch": self.file.batch_tokens });
            if let Some(scores) = self.find_value::<Vec<ProblemScores>>("scores", &key)? {
                all.extend(scores);
                continue;
            }
            if self.plan.is_some() {
                let answers = Answers { rollouts: Rc::new(chunk.to_vec()), ..Answers::default() };
                let start = self.start()?;
                let work = Work::of_answers(&self.file, &start, &answers)?;
                let digest = digest_of(chunk);
                if let Some(plan) = &mut self.plan {
                    plan.score(&self.row, &of.key, &digest, work);
                }
                continue;
            }
            if !has_begun {
                self.observer.stage(&format!("scores of {}", self.row), Some(n_chunks));
                self.observer.resumed((all.len() / CHUNK) as u64);
                has_begun = true;
            }
            if opened.is_none() {
                let load = LoadOptions {
                    n_threads: self.machine.n_threads,
                    weights: Weights::Auto,
                    ..LoadOptions::default()
                };
                let options = OpenOptions {
                    load,
                    by,
                    reference: match by {
                        ScoreBy::Reward => ReferenceChoice::Own,
                        ScoreBy::SelfCertainty => ReferenceChoice::Absent,
                    },
                    step_split: Some(self.file.step_split.clone()),
                    prompt: self.file.prompt.clone(),
                    on_overlong: self.file.on_overlong,
                    batch_tokens: self.file.batch_tokens,
                    ..OpenOptions::default()
                };
                opened = Some(open(&of.place, &options, self.machine.hub, self.observer)?);
            }
            let Some(opened) = &opened else { continue };
            let scores = opened.score(chunk, &mut Silent)?;
            self.observer.advance(1, &[]);
            self.store.make_value("scores", &key, &scores)?;
            all.extend(scores);
        }
        Ok(all)
    }
}

/// SHA-256 of the responses, and of their step labels if they bring any.
fn data_of(rollouts: &[Rollout]) -> String {
    let all = rollouts.iter().flat_map(|rollout| &rollout.completions);
    let labels: Vec<String> =
        all.filter_map(|of| of.step_labels.as_ref()).map(|labels| format!("{labels:?}")).collect();
    let digest = digest_of(rollouts);
    if labels.is_empty() {
        return digest;
    }
    let mut texts = vec![digest.as_str()];
    texts.extend(labels.iter().map(String::as_str));
    hash_text(&texts)
}

/// SHA-256 of the steps that the responses bring.
fn steps_of(rollouts: &[Rollout]) -> Option<String> {
    let all = rollouts.iter().flat_map(|rollout| &rollout.completions);
    let steps: Vec<&str> =
        all.filter_map(|of| of.steps.as_ref()).flatten().map(String::as_str).collect();
    (!steps.is_empty()).then(|| hash_text(&steps))
}

fn read_log_probs(path: &Path, corpus: &Corpus) -> Result<Vec<Vec<f32>>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let mut values =
        bytes.chunks_exact(4).map(|of| f32::from_le_bytes([of[0], of[1], of[2], of[3]]));
    let lengths = corpus.responses().iter().map(|response| response.tokens.len());
    Ok(lengths.map(|n| values.by_ref().take(n).collect()).collect())
}

/// What a factor of the training data does to it.
fn operations(factor: Factor, seed: u64) -> Result<Vec<DataOperation>> {
    Ok(match factor {
        Factor::None => Vec::new(),
        Factor::DatasetBalanced => vec![DataOperation::BalanceDataset { seed }],
        Factor::InstructionBalanced => {
            vec![DataOperation::BalanceInstructions { seed }]
        }
        Factor::Deduplicated => vec![DataOperation::deduplicate()],
        Factor::OtherInstructions | Factor::OtherInstructionsOnePair | Factor::BaseResponses => {
            return Err(Error::CastData {
                what: "this factor of table 5 needs data that only the tiny world has".to_owned(),
                hint: "leave the experiment out",
            });
        }
    })
}
