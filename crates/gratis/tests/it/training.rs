//! The training loop on an engine whose gradient is exact.

use std::cell::Cell;
use std::path::Path;

use gratis::encoding::{Corpus, MicroBatch};
use gratis::objective::{Objective, Pair};
use gratis::training::{
    CheckpointSettings, Companion, Decay, ImplicitReward, LanguageModelling, Learner, OnExisting,
    OptimizationSettings, RewardExample, RunFolder, Summary, Tally, Task, Trainer, Units, evaluate,
    fit, reference_log_probs,
};
use gratis::{Error, Figure, Observer, Silent};
use gratis_engine::{Score, TokenValues};

use crate::tabular::{TabularEngine, read};

const N_VOCAB: usize = 12;
const GOOD: u32 = 3;
const BAD: u32 = 4;

/// Eight problems with a correct and an incorrect response each: what tells them apart is one token.
fn corpus() -> (Corpus, Vec<RewardExample>, Vec<Pair>) {
    let mut corpus = Corpus::default();
    let (mut examples, mut pairs) = (Vec::new(), Vec::new());
    for problem in 0..8 {
        let prompt = corpus.prompt(&[1, 2, 5 + problem % 4, 5 + problem / 4]);
        for (token, is_correct) in [(GOOD, true), (BAD, false)] {
            examples.push(RewardExample {
                response: corpus.response(prompt, &[5, token, 6, 0]),
                problem: format!("problem-{problem}"),
                is_correct,
                steps: Vec::new(),
            });
        }
        pairs.push(Pair { chosen: examples.len() - 2, rejected: examples.len() - 1 });
    }
    (corpus, examples, pairs)
}

fn settings() -> OptimizationSettings {
    OptimizationSettings {
        epochs: 10,
        batch_size: 4,
        learning_rate: 0.05,
        decay: Decay::Linear,
        micro_batch_tokens: 20,
        ..OptimizationSettings::default()
    }
}

/// The task with the reference's log-probabilities of a uniform engine.
fn reward_task(objective: Objective, settings: &OptimizationSettings) -> ImplicitReward {
    let (corpus, examples, pairs) = corpus();
    let task = ImplicitReward::new(objective, corpus, examples, &pairs, settings);
    let folder = tempfile::tempdir().expect("a folder");
    let reference = reference_log_probs(
        &TabularEngine::uniform(N_VOCAB),
        "uniform",
        task.corpus(),
        &folder.path().join("rollouts.jsonl"),
        64,
        &mut Silent,
    );
    task.with_reference(reference.expect("log-probabilities"))
}

#[test]
fn every_objective_learns_to_tell_correct_from_incorrect() {
    for objective in Objective::all() {
        if objective.needs_step_labels() {
            continue;
        }
        // KTO at its small default beta moves both rewards together; any objective ranks.
        let objective = objective.with_beta(0.5);
        let mut engine = TabularEngine::uniform(N_VOCAB);
        let mut task = reward_task(objective, &settings());
        let before =
            evaluate(&Learner::LogProbs(&mut engine), &mut task, 64).expect("a measurement");
        let checkpoints = CheckpointSettings::default();
        fit(
            &mut Learner::LogProbs(&mut engine),
            &mut task,
            None,
            &settings(),
            &checkpoints,
            None,
            &mut Silent,
        )
        .expect("trained");
        let after =
            evaluate(&Learner::LogProbs(&mut engine), &mut task, 64).expect("a measurement");
        let name = objective.name();
        assert!(after.loss < before.loss, "{name}: {} then {}", before.loss, after.loss);
        let margin = after.reward_correct.expect("one") - after.reward_incorrect.expect("one");
        assert!(margin > 0.2, "{name}: {margin}");
        assert_eq!(before.reward_correct, Some(0.0), "{name}: policy and reference start equal");
    }
}

#[test]
fn cutting_a_batch_into_micro_batches_changes_nothing() {
    for objective in Objective::all() {
        if objective.needs_step_labels() {
            continue;
        }
        let train = |micro_batch_tokens| {
            let settings = OptimizationSettings { micro_batch_tokens, max_steps: 6, ..settings() };
            let mut engine = TabularEngine::uniform(N_VOCAB);
            let mut task = reward_task(objective, &settings);
            let mut trainer = Trainer::new(&settings, task.items().len(), 0).expect("valid");
            let metrics: Vec<_> = (0..6)
                .map(|_| {
                    trainer.step(&mut Learner::LogProbs(&mut engine), &mut task).expect("a step")
                })
                .collect();
            (engine.theta, metrics)
        };
        let (whole, whole_metrics) = train(1000);
        let (parts, parts_metrics) = train(1);
        // Weights pass the seam as f32; observed 1e-9 after six steps of 0.05.
        for (a, b) in whole.iter().zip(&parts) {
            assert!((a - b).abs() < 1e-6, "{}: {a} against {b}", objective.name());
        }
        for (a, b) in whole_metrics.iter().zip(&parts_metrics) {
            assert!((a.evaluation.loss - b.evaluation.loss).abs() < 1e-6);
            assert!(a.n_tokens <= b.n_tokens, "a shared prompt is counted once a micro-batch");
        }
    }
}

#[test]
fn a_language_model_learns_the_frequencies_of_its_corpus() {
    let mut corpus = Corpus::default();
    let prompt = corpus.prompt(&[1]);
    let (often, seldom) = (corpus.response(prompt, &[2, 0]), corpus.response(prompt, &[3, 0]));
    let responses = [often, often, often, seldom].map(|idx| (idx, "text".to_owned()));
    let mut task = LanguageModelling::new(corpus, responses);
    let mut engine = TabularEngine::uniform(4);
    let settings = OptimizationSettings { epochs: 400, ..settings() };
    let checkpoints = CheckpointSettings::default();
    fit(
        &mut Learner::LogProbs(&mut engine),
        &mut task,
        None,
        &settings,
        &checkpoints,
        None,
        &mut Silent,
    )
    .expect("trained");
    let odds = (engine.theta[4 + 2] - engine.theta[4 + 3]).exp();
    assert!((odds - 3.0).abs() < 0.1, "three to one, got {odds}");
}

/// Stops the run with a panic of its own after so many steps, as a kill would.
struct StopAfter<'a>(&'a Cell<u64>);

impl Observer for StopAfter<'_> {
    fn advance(&mut self, _: u64, figures: &[Figure]) {
        if !figures.iter().any(|figure| matches!(figure, Figure::Value("loss", _))) {
            return;
        }
        self.0.set(self.0.get().wrapping_sub(1));
        assert!(self.0.get() != 0, "stopped on purpose");
    }
}

fn run_in(folder: &Path, on_existing: OnExisting, observer: &mut dyn Observer) -> Summary {
    let companions = vec![Companion { name: "gratis.json".to_owned(), bytes: b"{}".to_vec() }];
    let mut run =
        RunFolder::open(folder, "a = 1\n", "data", companions, on_existing).expect("a run folder");
    let mut engine = TabularEngine::uniform(N_VOCAB);
    let mut task = reward_task(Objective::default(), &settings());
    let mut validation = reward_task(Objective::default(), &settings());
    let checkpoints = CheckpointSettings { checkpoint_every: 7, keep_last: 2, validate_every: 5 };
    let validation: Option<&mut dyn Task> = Some(&mut validation);
    fit(
        &mut Learner::LogProbs(&mut engine),
        &mut task,
        validation,
        &settings(),
        &checkpoints,
        Some(&mut run),
        observer,
    )
    .expect("trained")
}

#[test]
fn a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    let summary = run_in(&whole, OnExisting::Fail, &mut Silent);
    assert_eq!(summary.n_steps, 40);
    for stop_after in [1, 6, 7, 8, 20, 40] {
        let path = folder.path().join(format!("stopped-{stop_after}"));
        let left = Cell::new(stop_after);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run_in(&path, OnExisting::Fail, &mut StopAfter(&left))
        }))
        .expect_err("stopped");
        let resumed = run_in(&path, OnExisting::Resume, &mut Silent);
        assert_eq!(resumed.n_resumed, (stop_after - 1) / 7 * 7);
        assert_eq!(resumed.best, summary.best);
        for file in ["metrics.jsonl", "model/theta", "best/theta", "model/gratis.json"] {
            let read = |run: &Path| std::fs::read(run.join(file)).expect("written");
            assert_eq!(read(&whole), read(&path), "{file} after {stop_after}");
        }
    }
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    };
    let kept = ["step-00000035", "step-00000040"];
    assert_eq!(names(&whole.join("checkpoints")), kept);
    // Killed before an old checkpoint was removed, and while another one was.
    for (name, has_state) in [("step-00000028", true), ("step-00000021", false)] {
        let left = whole.join("checkpoints").join(name);
        std::fs::create_dir(&left).expect("a folder");
        std::fs::write(left.join("theta"), "").expect("written");
        if has_state {
            let state = whole.join("checkpoints/step-00000035/trainer.json");
            std::fs::copy(state, left.join("trainer.json")).expect("copied");
        }
    }
    run_in(&whole, OnExisting::Resume, &mut Silent);
    assert_eq!(names(&whole.join("checkpoints")), kept);
    assert_eq!(read(&whole.join("model/theta")).len(), N_VOCAB * N_VOCAB);
}

#[test]
fn a_run_is_not_mixed_with_another() {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), OnExisting::Fail, &mut Silent);
    let open = |config, on_existing| {
        RunFolder::open(folder.path(), config, "data", Vec::new(), on_existing).map(|_| ())
    };
    let error = open("a = 1\n", OnExisting::Fail).expect_err("exists");
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    let error = open("a = 2\n", OnExisting::Resume).expect_err("differs");
    assert!(error.to_string().contains("`a = 1` differs"), "{error}");
    assert!(error.hint().is_some());
}

/// A task whose loss is NaN from its third batch on.
struct Spoiled(LanguageModelling, u64);

impl Task for Spoiled {
    fn units(&self) -> &Units {
        self.0.units()
    }

    fn prepare(&mut self, engine: &dyn Score, units: &[usize]) -> gratis::Result<()> {
        self.1 += 1;
        self.0.prepare(engine, units)
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> gratis::Result<TokenValues> {
        tally.add_loss(if self.1 == 3 { f64::NAN } else { 0.0 });
        self.0.weigh(units, batch, log_probs, tally)
    }
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_problems_and_changes_nothing() {
    let mut corpus = Corpus::default();
    let prompt = corpus.prompt(&[1]);
    let responses: Vec<_> =
        (2..12).map(|token| (corpus.response(prompt, &[token]), format!("p{token}"))).collect();
    let mut task = Spoiled(LanguageModelling::new(corpus, responses), 0);
    let settings = OptimizationSettings { batch_size: 2, ..settings() };
    let mut trainer = Trainer::new(&settings, 10, 0).expect("valid");
    let mut engine = TabularEngine::uniform(N_VOCAB);
    for _ in 0..2 {
        trainer.step(&mut Learner::LogProbs(&mut engine), &mut task).expect("finite");
    }
    let before = engine.clone();
    let error =
        trainer.step(&mut Learner::LogProbs(&mut engine), &mut task).expect_err("not finite");
    assert!(
        error.to_string().starts_with("step 3: the loss is NaN, in a batch of the problems `p")
    );
    assert_eq!(error.to_string().matches("`p").count(), 2);
    assert!(error.hint().is_some());
    assert_eq!(engine, before);
}

#[test]
fn nothing_to_train_on_is_an_error() {
    let error = Trainer::new(&settings(), 0, 0).expect_err("nothing");
    assert_eq!(error.to_string(), "no valid example to train on");
}

#[test]
fn the_reference_is_computed_once_and_a_changed_model_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let beside = folder.path().join("rollouts.jsonl");
    let (corpus, ..) = corpus();
    let ask = |engine: &TabularEngine, hash: &str| {
        reference_log_probs(engine, hash, &corpus, &beside, 64, &mut Silent).expect("values")
    };
    let first = ask(&TabularEngine::uniform(N_VOCAB), "a");
    let mut other = TabularEngine::uniform(N_VOCAB);
    other.theta[5] = 1.0;
    other.theta[5 * N_VOCAB + 3] = 1.0;
    assert_eq!(ask(&mut other, "a"), first, "known by its hash");
    assert_ne!(ask(&mut other, "b"), first);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
}
