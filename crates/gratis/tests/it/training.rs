//! The training loop on an engine whose gradient is exact.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gratis::data::Error as DataError;
use gratis::encoding::{Corpus, MicroBatch, MicroBatches, micro_batches};
use gratis::objective::{Objective, Pair, StepLabel};
use gratis::training::{
    CheckpointSettings, Decay, ImplicitReward, LanguageModelling, Learner, OnExisting,
    OptimizationSettings, RewardExample, RunFolder, StepMetrics, Summary, Tally, Task, Trainer,
    Units, evaluate, fit, fit_until, reference_log_probs,
};
use gratis::{Error, Figure, Observer, Silent};
use gratis_engine::{Score, TokenValues};

use crate::tabular::{TabularEngine, read};

const N_VOCAB: usize = 12;
/// Tokens that fit into the context; the engine of these tests has no limit of its own.
const CONTEXT: usize = 64;
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
                label: f64::from(is_correct),
                steps: Vec::new(),
                masked: Vec::new(),
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
        learning_rate: Some(0.05),
        decay: Decay::Linear,
        micro_batch_tokens: 20,
        ..OptimizationSettings::default()
    }
}

/// The task with the reference's log-probabilities of a uniform engine.
fn reward_task(objective: Objective, settings: &OptimizationSettings) -> ImplicitReward {
    let (corpus, examples, pairs) = corpus();
    let task = ImplicitReward::new(objective, corpus, examples, &pairs, CONTEXT, settings);
    let is_used = vec![true; task.corpus().responses().len()];
    let engine = TabularEngine::uniform(N_VOCAB);
    let reference =
        reference_log_probs(&engine, "uniform", task.corpus(), &is_used, None, 64, &mut Silent);
    task.with_reference(reference.expect("log-probabilities").0)
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
fn a_training_that_is_ended_early_took_the_first_steps_of_the_whole() {
    let course = |last: u64| {
        let mut engine = TabularEngine::uniform(N_VOCAB);
        let mut task = reward_task(Objective::default(), &settings());
        let (mut steps, mut learner) = (Vec::new(), Learner::LogProbs(&mut engine));
        let after_step = &mut |_: &Learner, metrics: &StepMetrics| {
            steps.push((metrics.step, metrics.evaluation.loss));
            Ok(if metrics.step == last {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        };
        let summary = fit_until(&mut learner, &mut task, &settings(), &mut Silent, after_step);
        (summary.expect("trained").n_steps, steps)
    };
    let (n_all, whole) = course(u64::MAX);
    let (n_steps, ended) = course(3);
    assert!(n_all > 3, "{n_all} steps");
    assert_eq!((n_all, n_steps), (whole.len() as u64, 3));
    assert_eq!(ended, whole[..3]);

    let mut engine = TabularEngine::uniform(N_VOCAB);
    let mut task = reward_task(Objective::default(), &settings());
    let mut learner = Learner::LogProbs(&mut engine);
    let fail = &mut |_: &Learner, _: &StepMetrics| Err(Error::MissingSetting { field: "t" });
    fit_until(&mut learner, &mut task, &settings(), &mut Silent, fail).expect_err("passed on");
}

/// Loss and weights of two problems under made-up log-probabilities. Where there is a tool's output,
/// two tokens, it is masked and as improbable as can be.
fn loss_with(objective: Objective, with_tool: bool) -> (f64, Vec<Vec<f32>>) {
    let mut corpus = Corpus::default();
    let (mut examples, mut pairs) = (Vec::new(), Vec::new());
    let tool: &[u32] = if with_tool { &[7, 8] } else { &[] };
    let masked: Vec<_> = with_tool.then_some(2..4).into_iter().collect();
    for problem in 0..2 {
        let prompt = corpus.prompt(&[1, 2, 5 + problem]);
        for (token, is_correct) in [(GOOD, true), (BAD, false)] {
            let tokens = [&[5, token], tool, &[6, 0]].concat();
            let steps = [(2, 1.0), (tokens.len(), f64::from(u8::from(is_correct)))];
            examples.push(RewardExample {
                response: corpus.response(prompt, &tokens),
                problem: format!("problem-{problem}"),
                label: f64::from(is_correct),
                steps: steps.map(|(end, label)| StepLabel { end, label }).to_vec(),
                masked: masked.clone(),
            });
        }
        pairs.push(Pair { chosen: examples.len() - 2, rejected: examples.len() - 1 });
    }
    let settings = OptimizationSettings { batch_size: 4, ..settings() };
    let mut task = ImplicitReward::new(objective, corpus, examples, &pairs, CONTEXT, &settings);
    let units: Vec<usize> = (0..task.items().len()).collect();
    task.prepare(&TabularEngine::uniform(N_VOCAB), &units).expect("prepared");
    let MicroBatches { packed, members } =
        micro_batches(task.corpus(), task.items(), 1000).expect("batches");
    assert_eq!(packed.len(), 1);
    let mut values = TokenValues::default();
    for &response in &members[0].responses {
        let value = |place: usize| -0.1 * (response + 1) as f32 - 0.2 * place as f32;
        let own = (0..4).map(value).collect::<Vec<_>>();
        let of_tool: &[f32] = if with_tool { &[-90.0, -80.0] } else { &[] };
        values.push(&[&own[..2], of_tool, &own[2..]].concat());
    }
    let mut tally = Tally::default();
    let weights = task.weigh(&units, &members[0], &values, &mut tally).expect("weights");
    let rows = weights.rows().map(<[f32]>::to_vec).collect();
    (tally.loss(), rows)
}

#[test]
fn masked_tokens_have_no_part_in_any_objective() {
    for objective in Objective::all() {
        let objective = objective.with_beta(0.5);
        let (loss, weights) = loss_with(objective, false);
        let (masked_loss, masked_weights) = loss_with(objective, true);
        let name = objective.name();
        assert_eq!(masked_loss, loss, "{name}");
        for (row, masked_row) in weights.iter().zip(&masked_weights) {
            assert!(row.iter().any(|weight| *weight != 0.0), "{name}");
            assert_eq!(masked_row[2..4], [0.0, 0.0], "{name}");
            assert_eq!([&masked_row[..2], &masked_row[4..]].concat(), *row, "{name}");
        }
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
            let mut trainer = Trainer::new(&settings, task.units(), 0).expect("valid");
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
    let companions = vec![("gratis.json".to_owned(), b"{}".to_vec())];
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

/// Counts warnings, and stops as [`StopAfter`] does.
struct Warned<'a>(Vec<String>, StopAfter<'a>);

impl Observer for Warned<'_> {
    fn advance(&mut self, n: u64, figures: &[Figure]) {
        self.1.advance(n, figures);
    }

    fn warn(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_resumed_run_repeats_no_warning_and_records_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = OptimizationSettings { learning_rate: Some(200.0), clip: 0.0, ..settings() };
    let run_in = |path: &Path, on_existing, observer: &mut dyn Observer| {
        let run = RunFolder::open(path, "a = 1\n", "data", Vec::new(), on_existing);
        let mut engine = TabularEngine::uniform(N_VOCAB);
        let mut task = reward_task(Objective::Ipo(gratis::objective::Ipo::default()), &settings);
        let checkpoints = CheckpointSettings { checkpoint_every: 7, ..Default::default() };
        let mut run = run.expect("a run folder");
        let mut learner = Learner::LogProbs(&mut engine);
        fit(&mut learner, &mut task, None, &settings, &checkpoints, Some(&mut run), observer)
    };
    let never = Cell::new(u64::MAX);
    let whole = folder.path().join("whole");
    let mut observer = Warned(Vec::new(), StopAfter(&never));
    run_in(&whole, OnExisting::Fail, &mut observer).expect("trained");
    assert_eq!(observer.0.len(), 1, "{:?}", observer.0);
    assert!(observer.0[0].contains("the training diverges"), "{:?}", observer.0);

    let stopped = folder.path().join("stopped");
    let left = Cell::new(16);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run_in(&stopped, OnExisting::Fail, &mut StopAfter(&left))
    }))
    .expect_err("stopped");
    let mut observer = Warned(Vec::new(), StopAfter(&never));
    run_in(&stopped, OnExisting::Resume, &mut observer).expect("trained");
    assert_eq!(observer.0, Vec::<String>::new(), "reported by the run that was stopped");
    let metrics = |path: &Path| std::fs::read(path.join("metrics.jsonl")).expect("written");
    assert_eq!(metrics(&whole), metrics(&stopped));
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
    let checkpoints = whole.join("checkpoints");
    let copy = |name: &str, step: &str| {
        let left = checkpoints.join(name);
        std::fs::create_dir_all(&left).expect("a folder");
        std::fs::write(left.join("theta"), "").expect("written");
        let state = checkpoints.join("step-00000035/trainer.json");
        let state = std::fs::read_to_string(state)
            .expect("a state")
            .replace(r#""n_taken":35"#, &format!(r#""n_taken":{step}"#));
        std::fs::write(left.join("trainer.json"), state).expect("written");
    };
    copy("step-00000028", "28");
    copy(".step-00000021.gratis-draft-Ab12cd/removed", "21");
    std::fs::create_dir(whole.join(".best.gratis-draft-Ab12cd")).expect("a folder");
    run_in(&whole, OnExisting::Resume, &mut Silent);
    assert_eq!(names(&whole.join("checkpoints")), kept);
    assert_eq!(read(&whole.join("model/theta")).len(), N_VOCAB * N_VOCAB);
}

#[test]
fn what_others_put_beside_checkpoints_is_never_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), OnExisting::Fail, &mut Silent);
    let foreign = [
        ".best.notes",
        ".model.backup/weights",
        ".config.toml.swp",
        ".metrics.jsonl.Ab12cd",
        "checkpoints/.step-00000035.mine",
        "checkpoints/step-00000001/notes",
        "checkpoints/step-best/trainer.json",
        "checkpoints/step-00000035-kept/trainer.json",
        "checkpoints/step-7/trainer.json",
    ];
    for name in foreign {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, "mine").expect("written");
    }
    run_in(folder.path(), OnExisting::Resume, &mut Silent);
    for name in foreign {
        assert_eq!(std::fs::read(folder.path().join(name)).expect("there"), b"mine", "{name}");
    }
}

#[test]
fn a_state_that_disagrees_with_its_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), OnExisting::Fail, &mut Silent);
    let resume = || {
        let on_existing = OnExisting::Resume;
        let run = RunFolder::open(folder.path(), "a = 1\n", "data", Vec::new(), on_existing);
        let mut task = reward_task(Objective::default(), &settings());
        let mut engine = TabularEngine::uniform(N_VOCAB);
        let learner = &mut Learner::LogProbs(&mut engine);
        let checkpoints = CheckpointSettings::default();
        let run = &mut run.expect("a run folder");
        fit(learner, &mut task, None, &settings(), &checkpoints, Some(run), &mut Silent)
    };
    let last = folder.path().join("checkpoints/step-00000040");
    let state = std::fs::read_to_string(last.join("trainer.json")).expect("a state");
    std::fs::write(last.join("trainer.json"), state.replace(r#""n_taken":40"#, r#""n_taken":36"#))
        .expect("written");
    let error = resume().expect_err("another step");
    assert!(
        error.to_string().contains("the state after step 40, as its folder is called"),
        "{error}"
    );

    // The folder and the trainer agree, and the weights are of another step.
    std::fs::rename(&last, folder.path().join("checkpoints/step-00000036")).expect("renamed");
    let error = resume().expect_err("other weights");
    assert!(matches!(error, Error::StateDiffers { engine: 40, trainer: 36 }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn one_process_at_a_time_writes_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let on_existing = OnExisting::Resume;
        RunFolder::open(folder.path(), "a = 1\n", "data", Vec::new(), on_existing)
    };
    let first = open().expect("free");
    let error = open().map(|_| ()).expect_err("held").to_string();
    assert!(error.contains("is being written by process"), "{error}");
    let error = RunFolder::check(folder.path(), OnExisting::Resume).expect_err("held");
    assert!(
        matches!(error, Error::Data(DataError::Model(gratis_model::Error::Locked { .. }))),
        "{error}"
    );
    drop(first);
    open().expect("free again");
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

    fn prepare(&mut self, engine: &dyn Score, units: &[usize]) -> Result<(), gratis::Error> {
        self.1 += 1;
        self.0.prepare(engine, units)
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues, gratis::Error> {
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
    let mut trainer = Trainer::new(&settings, task.units(), 0).expect("valid");
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
    let error = Trainer::new(&settings(), &Units::default(), 0).expect_err("nothing");
    assert_eq!(error.to_string(), "no valid example to train on");
}

/// A uniform engine that counts the responses it is asked for and stops after some.
struct Counting {
    inner: TabularEngine,
    n_asked: AtomicUsize,
    n_left: AtomicUsize,
}

impl Score for Counting {
    fn describe(&self) -> &gratis_engine::ModelDescription {
        self.inner.describe()
    }

    fn log_probs(
        &self,
        batches: &[gratis_engine::PackedBatch],
    ) -> gratis_engine::Result<Vec<TokenValues>> {
        let n: usize = batches.iter().map(|batch| batch.responses().len()).sum();
        let Some(n_left) = self.n_left.load(Relaxed).checked_sub(n) else {
            return Err(gratis_engine::Error::NonFiniteGradient { norm: f64::NAN });
        };
        self.n_left.store(n_left, Relaxed);
        self.n_asked.fetch_add(n, Relaxed);
        self.inner.log_probs(batches)
    }
}

/// The reference's values of a task's used responses, and how many were computed; an error after
/// `n_left`.
fn ask(
    cache: &Path,
    hash: &str,
    task: &ImplicitReward,
    is_used: &[bool],
    n_left: usize,
) -> (Result<Vec<Vec<f32>>, gratis::Error>, usize) {
    let mut inner = TabularEngine::uniform(N_VOCAB);
    inner.theta[5 * N_VOCAB + 3] = if hash == "a" { 0.0 } else { 1.0 };
    let engine = Counting { inner, n_asked: AtomicUsize::new(0), n_left: AtomicUsize::new(n_left) };
    let corpus = task.corpus();
    let values = reference_log_probs(&engine, hash, corpus, is_used, Some(cache), 20, &mut Silent);
    (values.map(|(log_probs, _)| log_probs), engine.n_asked.load(Relaxed))
}

const ALL: usize = usize::MAX;

#[test]
fn the_reference_is_computed_once_and_a_changed_model_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let task = reward_task(Objective::default(), &settings());
    let is_used = task.used_in_evaluation();
    let n = is_used.len();
    let (first, n_asked) = ask(folder.path(), "a", &task, &is_used, ALL);
    let first = first.expect("values");
    assert_eq!(n_asked, n);
    let (again, n_asked) = ask(folder.path(), "a", &task, &is_used, 0);
    assert_eq!((again.expect("known by its hash"), n_asked), (first.clone(), 0));
    let (other, n_asked) = ask(folder.path(), "b", &task, &is_used, ALL);
    assert_eq!(n_asked, n);
    assert_ne!(other.expect("values"), first);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn a_reference_that_was_stopped_or_damaged_is_made_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let task = reward_task(Objective::default(), &settings());
    let is_used = task.used_in_evaluation();
    let (values, n_asked) = ask(folder.path(), "a", &task, &is_used, 12);
    values.expect_err("stopped");
    assert!((1..=12).contains(&n_asked), "{n_asked}");
    let (values, n_rest) = ask(folder.path(), "a", &task, &is_used, ALL);
    assert_eq!(n_asked + n_rest, is_used.len(), "only the rest was computed");
    let (whole, _) = ask(&folder.path().join("other"), "a", &task, &is_used, ALL);
    let whole = whole.expect("values");
    assert_eq!(values.expect("values"), whole);

    let entries = std::fs::read_dir(folder.path()).expect("a folder").flatten();
    let file = entries.map(|entry| entry.path()).find(|path| path.is_file()).expect("a cache");
    let good = std::fs::read(&file).expect("there");
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| *bytes.last_mut().expect("a byte") ^= 1,
        |bytes| {
            let at = bytes.len() - 30;
            bytes[at] ^= 4;
        },
        |bytes| {
            let n = bytes.len() - 40;
            bytes[n..].fill(0);
        },
        |bytes| bytes.truncate(bytes.len() - 5),
    ];
    for (nth, damage) in damages.iter().enumerate() {
        let mut bytes = good.clone();
        damage(&mut bytes);
        std::fs::write(&file, bytes).expect("written");
        let (values, n_asked) = ask(folder.path(), "a", &task, &is_used, ALL);
        assert_eq!(values.expect("values"), whole, "damage {nth}");
        assert!(n_asked > 0 && n_asked < is_used.len(), "damage {nth}: {n_asked}");
        assert_eq!(std::fs::read(&file).expect("there"), good, "damage {nth}");
    }
}

#[test]
fn the_reference_covers_what_is_used_and_its_file_does_not_depend_on_where_a_run_stops() {
    for objective in [Objective::default(), "kto".parse().expect("known")] {
        let folder = tempfile::tempdir().expect("a folder");
        let of_steps = |max_steps| {
            let settings = OptimizationSettings { max_steps, epochs: 2, ..settings() };
            let (corpus, examples, pairs) = corpus();
            let task = ImplicitReward::new(objective, corpus, examples, &pairs, CONTEXT, &settings);
            let is_used = task.used_in_training(&settings);
            let (values, n_asked) = ask(folder.path(), "a", &task, &is_used, ALL);
            let values = values.expect("values");
            assert!(is_used.iter().zip(&values).all(|(used, row)| !used || !row.is_empty()));
            (values, n_asked)
        };
        let (_, n_of_one) = of_steps(1);
        let (whole, n_of_rest) = of_steps(0);
        assert!(n_of_one < whole.len(), "{n_of_one} of {}", whole.len());
        let n_known = whole.iter().filter(|row| !row.is_empty()).count();
        assert_eq!(n_of_one + n_of_rest, n_known, "nothing was computed twice");
        let n_files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(n_files, 1, "one file for both");
    }
}
