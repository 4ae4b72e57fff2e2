//! Baseline reward models on the native engine: gradients against PyTorch and finite differences,
//! training, scores, and annotation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gratis::annotate::{LabelKind, MonteCarlo};
use gratis::baseline::{LabelTexts, LabelTokens, Pooling, ValueObjective, self_certainty};
use gratis::data::published;
use gratis::data::{Completion, OnInvalid, Rollout, StepSplit};
use gratis::encoding::{Corpus, Encoder, Item, OnOverlong, micro_batches};
use gratis::objective::{Pair, StepLabel};
use gratis::reward::ValueRule;
use gratis::scoring::{ScoreRollouts as _, ScoringSettings, TokenRewards};
use gratis::training::{
    Learner, OptimizationSettings, RewardData, RewardExample, Tally, Task, Trainer, evaluate,
    reward_data,
};
use gratis::{Error, Silent};
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
use gratis_engine::{SamplingSettings, Score as _, Stop, Train as _};
use gratis_model::config::ModelConfig;
use gratis_model::tokenizer::SpecialTokens;
use gratis_model::{Tokenizer, ValueHead};
use safetensors::SafeTensors;
use serde::Deserialize;

const ACTION: ValueHead = ValueHead::ActionAndStateValue;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// What `make_baseline_goldens.py` wrote.
#[derive(Deserialize)]
struct Golden {
    tag: Vec<u32>,
    good: u32,
    bad: u32,
    solutions: Vec<Solution>,
    token_loss: f64,
    head_losses: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Solution {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    ends: Vec<usize>,
    labels: Vec<f64>,
}

impl Golden {
    fn read() -> (Self, Vec<u8>) {
        let text = std::fs::read_to_string(fixtures("baselines/golden.json")).expect("a file");
        let tensors = std::fs::read(fixtures("baselines/golden.safetensors")).expect("a file");
        (serde_json::from_str(&text).expect("golden values"), tensors)
    }

    fn data(&self) -> RewardData {
        let mut data = RewardData::default();
        for solution in &self.solutions {
            let prompt = data.corpus.prompt(&solution.prompt);
            let steps = solution.ends.iter().zip(&solution.labels);
            data.examples.push(RewardExample {
                response: data.corpus.response(prompt, &solution.tokens),
                problem: "golden".to_owned(),
                label: f64::from(solution.labels.iter().all(|label| *label >= 0.5)),
                steps: steps.map(|(&end, &label)| StepLabel { end, label }).collect(),
                masked: Vec::new(),
            });
        }
        data.pairs = vec![Pair { chosen: 2, rejected: 0 }];
        data
    }
}

/// Loss of the whole task as one optimizer batch in micro-batches of `max_tokens`; the gradient is
/// left in the engine.
fn pass(learner: &mut Learner, task: &mut dyn Task, max_tokens: usize) -> f64 {
    let units: Vec<usize> = (0..task.items().len()).collect();
    task.prepare(learner.score(), &units).expect("prepared");
    let items: Vec<Item> = units.iter().map(|&unit| task.items()[unit]).collect();
    let mut tally = Tally::default();
    let batches = micro_batches(task.corpus(), &items, max_tokens).expect("valid");
    let weigh = &mut |nth: usize, values: &_| {
        task.weigh(&units, &batches.members[nth], values, &mut tally).map_err(Stop::because)
    };
    match learner {
        Learner::LogProbs(engine) => engine.forward_backward(&batches.packed, weigh),
        Learner::Values(engine) => engine.values_backward(&batches.packed, weigh),
    }
    .expect("a gradient");
    tally.loss()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// Largest relative error of a gradient tensor.
fn worst(engine: &NativeEngine, prefix: &str, golden: &[u8]) -> f64 {
    let golden = SafeTensors::deserialize(golden).expect("tensors");
    let mut worst: f64 = 0.0;
    for tensor in &engine.layout().tensors {
        let got = &engine.gradient()[tensor.range.clone()];
        let Ok(view) = golden.tensor(&format!("{prefix}.{}", tensor.name)) else {
            assert!(got.iter().all(|&slope| slope == 0.0), "{} has a gradient", tensor.name);
            continue;
        };
        let (words, _) = view.data().as_chunks::<4>();
        let expected: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let difference: Vec<f32> = got.iter().zip(&expected).map(|(a, b)| a - b).collect();
        worst = worst.max(norm(&difference) / norm(&expected).max(1e-12));
    }
    worst
}

#[test]
fn losses_and_gradients_agree_with_transformers() {
    let (golden, tensors) = Golden::read();
    let options = NativeOptions::default();
    let tokens =
        LabelTokens { tag: golden.tag.clone(), good: golden.good, bad: golden.bad, neutral: None };
    // Whole, and cut into as many micro-batches as there are solutions.
    for max_tokens in [1000, 1] {
        let mut engine =
            NativeEngine::load(&fixtures("models/llama-untied"), options).expect("a model");
        let mut task = tokens.task(&golden.data()).expect("labels");
        let loss = pass(&mut Learner::LogProbs(&mut engine), &mut task, max_tokens);
        // Observed: 1.7e-7, and at most 1.4e-7 for the heads.
        assert!((loss - golden.token_loss).abs() < 2e-6, "{loss} for {}", golden.token_loss);
        let error = worst(&engine, "tokens", &tensors);
        // Observed: 1.1e-6; of the heads at most 1.1e-5, where a gradient nearly cancels.
        assert!(error < 2e-5, "{error:e}");

        for (name, objective) in [
            ("head", ValueObjective::Steps),
            ("outcome", ValueObjective::Outcome),
            ("bradley_terry", ValueObjective::BradleyTerry),
            ("every_token", ValueObjective::EveryToken),
        ] {
            let folder = fixtures("models/llama-tied-linear-head");
            let mut engine =
                NativeEngine::load_with_value_head(&folder, ValueHead::Linear, options)
                    .expect("a model");
            let mut task = objective.task(Pooling::Own, golden.data()).expect("labels");
            let loss = pass(&mut Learner::Values(&mut engine), &mut task, max_tokens);
            let expected = golden.head_losses[name];
            assert!((loss - expected).abs() < 2e-6, "{name}: {loss} for {expected}");
            let error = worst(&engine, name, &tensors);
            assert!(error < 2e-5, "{name}: {error:e}");
        }
    }
}

/// The engine as a task sees it.
type AsLearner = fn(&mut NativeEngine) -> Learner<'_>;

/// Checks that the loss of a task moves along its gradient by the gradient's squared norm.
fn assert_slope(case: &str, engine: &mut NativeEngine, task: &mut dyn Task, on: AsLearner) {
    let loss = pass(&mut on(engine), task, 4096);
    assert!(loss.is_finite());
    let gradient = engine.gradient().to_vec();
    engine.discard_gradient().expect("discarded");
    let start = engine.trained_parameters().to_vec();
    let square = norm(&gradient).powi(2);
    assert!(square > 1e-6, "{case}: {square:e}");
    let size = 1e-2 / square.sqrt();
    let mut moved = |by: f64| {
        let step = |(parameter, slope): (&f32, &f32)| parameter + (by * f64::from(*slope)) as f32;
        let parameters: Vec<f32> = start.iter().zip(&gradient).map(step).collect();
        engine.set_trained_parameters(&parameters).expect("as many");
        evaluate(&on(engine), task, 4096).expect("evaluated").loss
    };
    let slope = (moved(size) - moved(-size)) / (2.0 * size);
    let error = (slope / square - 1.0).abs();
    // Observed: at most 5.7e-4, from the differences' own rounding and curvature.
    assert!(error < 2e-3, "{case}: {slope} for {square}, {error:e}");
}

#[test]
fn losses_of_heads_and_label_tokens_have_the_slopes_of_their_gradients() {
    let tokenizer = tokenizer();
    let mut rollouts = rollouts();
    // A soft label and one that is unknown.
    let steps = rollouts[0].completions.iter().map(|c| c.steps.clone().expect("steps")).collect();
    let labels = [[Some(0.25), Some(1.0)], [None, Some(0.0)], [Some(0.5); 2], [Some(1.0); 2]];
    rollouts[0].set_step_labels(steps, labels.map(|labels| labels.to_vec()).to_vec());
    let on_values: AsLearner = |engine| Learner::Values(engine);
    for head in [ValueHead::Linear, ACTION] {
        for (pooling, objective) in [
            (Pooling::Own, ValueObjective::Outcome),
            (Pooling::LogSumExp, ValueObjective::BradleyTerry),
            (Pooling::Own, ValueObjective::BradleyTerry),
            (Pooling::LogSumExp, ValueObjective::Steps),
            (Pooling::Own, ValueObjective::Steps),
            (Pooling::Own, ValueObjective::EveryToken),
        ] {
            let mut engine = model(&tokenizer, Some(head));
            let encoder = encoder(&tokenizer, &engine);
            let data = || reward_data(&rollouts, &encoder).expect("data");
            let mut task = objective.task(pooling, data()).expect("a task");
            // A fresh linear head is flat for the trunk: a few steps away from there.
            let mut trainer = Trainer::new(&settings(), task.units(), 0).expect("a trainer");
            for _ in 0..3 {
                trainer.step(&mut Learner::Values(&mut engine), &mut task).expect("a step");
            }
            let case = format!("{head:?} {pooling:?} {objective:?}");
            assert_slope(&case, &mut engine, &mut task, on_values);
        }
    }
    for neutral in [None, Some(" neither")] {
        let mut engine = model(&tokenizer, None);
        let data = reward_data(&rollouts, &encoder(&tokenizer, &engine)).expect("data");
        let mut task = label_tokens(&tokenizer, neutral).task(&data).expect("a task");
        let on_tokens: AsLearner = |engine| Learner::LogProbs(engine);
        assert_slope(&format!("neutral {neutral:?}"), &mut engine, &mut task, on_tokens);
    }
}

/// A world of eight words, and a model that knows nothing.
fn tokenizer() -> Tokenizer {
    let special = |text: &str| Some(text.to_owned());
    let special = SpecialTokens { pad: None, bos: special("<s>"), eos: special("</s>") };
    let phrases = ["1", "2", "3", "\n", " so ", "Answer: ", " tag", " good", " bad", " neither"];
    Tokenizer::from_phrases(&phrases.map(str::to_owned), &special).expect("a tokenizer")
}

fn model(tokenizer: &Tokenizer, head: Option<ValueHead>) -> NativeEngine {
    let config = ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 2,
        head_dim: 8,
        context_length: 64,
        bos_token: tokenizer.bos(),
        eos_tokens: tokenizer.eos().into_iter().collect(),
        ..ModelConfig::LLAMA
    };
    let initialisation =
        Initialisation { embedding_std: 0.5, linear_std: 0.2, residual_std: 0.2, head_std: 0.2 };
    let options = NativeOptions::default();
    let engine = NativeEngine::initialise(config, initialisation, 3, options).expect("a model");
    match head {
        Some(head) => engine.with_value_head(head),
        None => engine,
    }
}

/// "Say 1 or 2": right solutions repeat the prompt's digit in both lines.
fn rollouts() -> Vec<Rollout> {
    let mut all = Vec::new();
    for (idx, digit) in ["1", "2", "3", "1", "2", "3"].into_iter().enumerate() {
        let other = if digit == "1" { "2" } else { "1" };
        let solution = |a: &str, b: &str| format!(" so {a}\nAnswer: {b}");
        let mut rollout = Rollout {
            id: Some(format!("p{idx}")),
            prompt: format!("{digit} so {digit}"),
            reference: digit.to_owned(),
            completions: vec![
                Completion::graded(solution(digit, digit), true),
                Completion::graded(solution(digit, other), false),
                Completion::graded(solution(other, other), false),
                Completion::graded(solution(digit, digit), true),
            ],
            ..Rollout::default()
        };
        let steps = rollout
            .texts()
            .map(|text| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>());
        let steps = steps.collect();
        let labels = [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]];
        let labels = labels.map(|labels| labels.map(Some).to_vec()).to_vec();
        rollout.set_step_labels(steps, labels);
        all.push(rollout);
    }
    all
}

fn encoder<'a>(tokenizer: &'a Tokenizer, engine: &NativeEngine) -> Encoder<'a> {
    Encoder::new(tokenizer, "{prompt}", engine.describe(), OnOverlong::Stop).expect("valid")
}

fn label_tokens(tokenizer: &Tokenizer, neutral: Option<&str>) -> LabelTokens {
    let texts = LabelTexts {
        tag: " tag".to_owned(),
        good: " good".to_owned(),
        bad: " bad".to_owned(),
        neutral: neutral.map(str::to_owned),
    };
    LabelTokens::new(&texts, tokenizer).expect("tokens")
}

fn settings() -> OptimizationSettings {
    OptimizationSettings {
        epochs: 60,
        batch_size: 8,
        learning_rate: Some(1e-2),
        ..OptimizationSettings::default()
    }
}

/// Trains to the end; loss before and after.
fn learn(learner: &mut Learner, task: &mut dyn Task) -> (f64, f64) {
    let before = evaluate(learner, task, 4096).expect("evaluated").loss;
    let mut trainer = Trainer::new(&settings(), task.units(), 0).expect("a trainer");
    while trainer.n_taken() < trainer.n_steps() {
        trainer.step(learner, task).expect("a step");
    }
    (before, evaluate(learner, task, 4096).expect("evaluated").loss)
}

fn scoring() -> ScoringSettings {
    ScoringSettings {
        beta: 1.0,
        value_rule: ValueRule::Sum,
        step_split: StepSplit::Lines,
        batch_tokens: 200,
        tokens: TokenRewards::Write,
        part: gratis::data::ScorePart::All,
    }
}

#[test]
fn every_head_learns_every_objective_and_scores_what_it_learnt() {
    let tokenizer = tokenizer();
    let rollouts = rollouts();
    for head in [ValueHead::Linear, ACTION] {
        for pooling in [Pooling::Own, Pooling::LogSumExp] {
            for objective in [
                ValueObjective::Outcome,
                ValueObjective::BradleyTerry,
                ValueObjective::Steps,
                ValueObjective::EveryToken,
            ] {
                let case = format!("{head:?} {pooling:?} {objective:?}");
                let mut engine = model(&tokenizer, Some(head));
                let encoder = encoder(&tokenizer, &engine);
                let data = reward_data(&rollouts, &encoder).expect("data");
                let mut task = objective.task(pooling, data).expect("a task");
                let (before, after) = learn(&mut Learner::Values(&mut engine), &mut task);
                // Two solutions begin alike: their first lines' tokens cannot tell the outcome.
                assert!(after < 0.6 * before, "{case}: {before} to {after}");

                let scorer = pooling.scorer(&engine, encoder, scoring());
                let scores = scorer.score(&rollouts, &mut Silent).expect("scores");
                let of = &scores[0].scores;
                assert!(of[0].outcome > of[2].outcome, "{case}: {of:?}");
                assert_eq!(of[0], of[3], "copies score alike");
                for score in of {
                    let sum: f64 = score.tokens.as_ref().expect("tokens").iter().sum();
                    assert!((sum - score.outcome).abs() < 1e-9);
                    assert!((score.steps[0] + score.steps[1] - score.q_values[1]).abs() < 1e-9);
                }
                if objective == ValueObjective::Steps {
                    assert!(of[1].q_values[0] > of[1].q_values[1], "{case}: {of:?}");
                    assert!(of[1].q_values[0] > of[2].q_values[0], "{case}: {of:?}");
                }
            }
        }
    }
}

#[test]
fn label_tokens_are_learnt_and_scored_without_being_read() {
    let tokenizer = tokenizer();
    let mut rollouts = rollouts();
    for neutral in [None, Some(" neither")] {
        let mut engine = model(&tokenizer, None);
        let encoder = encoder(&tokenizer, &engine);
        let labels = label_tokens(&tokenizer, neutral);
        let data = reward_data(&rollouts, &encoder).expect("data");
        let mut task = labels.task(&data).expect("a task");
        let (before, after) = learn(&mut Learner::LogProbs(&mut engine), &mut task);
        assert!(after < 0.2 * before, "{before} to {after}");
        let scorer = labels.scorer(&engine, encoder, scoring());
        let scores = scorer.score(&rollouts, &mut Silent).expect("scores");
        let [right, wrong] = [&scores[1].scores[0], &scores[1].scores[1]];
        assert!(right.q_values.iter().all(|&value| value > 0.0), "{right:?}");
        assert!(wrong.q_values[0] > 0.0 && wrong.q_values[1] < 0.0, "{wrong:?}");
        // Later steps are told by the steps before, not by their labels.
        rollouts.reverse();
    }
}

#[test]
fn labels_that_are_no_tokens_of_their_own_are_refused() {
    let tokenizer = tokenizer();
    let with = |good: &str, bad: &str| {
        let texts = LabelTexts {
            tag: " tag".to_owned(),
            good: good.to_owned(),
            bad: bad.to_owned(),
            neutral: None,
        };
        LabelTokens::new(&texts, &tokenizer).expect_err("refused").to_string()
    };
    assert!(with(" good bad", " bad").starts_with("`good` should be one token of the model"));
    assert!(with(" good", " good").contains("a token of its own"));
}

#[test]
fn steps_without_labels_are_an_error() {
    let tokenizer = tokenizer();
    let engine = model(&tokenizer, None);
    let mut plain = rollouts();
    plain.iter_mut().flat_map(|r| &mut r.completions).for_each(|c| c.step_labels = None);
    let data = || reward_data(&plain, &encoder(&tokenizer, &engine)).expect("data");
    let error = ValueObjective::Steps.task(Pooling::Own, data()).err().expect("none");
    assert!(matches!(error, Error::NoStepLabels { .. }), "{error}");
    let error = label_tokens(&tokenizer, None).task(&data()).err().expect("none");
    assert!(matches!(error, Error::NoStepLabels { .. }), "{error}");
}

#[test]
fn monte_carlo_labels_are_the_same_however_they_are_cut_and_hard_ones_are_above_soft_ones() {
    let tokenizer = tokenizer();
    let rollouts = rollouts();
    let engine = model(&tokenizer, None);
    let encoder = encoder(&tokenizer, &engine);
    let annotate = |labels, n_continuations, chunk: usize| {
        let mut all = Vec::new();
        for (rollouts, first) in rollouts.chunks(chunk).zip((0..).step_by(chunk)) {
            let mut monte_carlo = MonteCarlo {
                engine: &engine,
                encoder: encoder.clone(),
                sampling: SamplingSettings {
                    temperature: 1.0,
                    top_p: 1.0,
                    top_k: 0,
                    max_new_tokens: 8,
                    stop_tokens: vec![encoder.end_token()?],
                    seed: 5,
                },
                n_continuations,
                labels,
                step_split: StepSplit::Lines,
                grading: gratis_grading::Options::default(),
            };
            let labelled = monte_carlo.annotate_counted(rollouts, first, &mut Silent)?;
            assert_eq!(monte_carlo.annotate(rollouts, first, &mut Silent)?, labelled.0);
            all.push(labelled);
        }
        Ok::<_, Error>(all)
    };
    let whole = annotate(LabelKind::Soft, 64, 6).expect("labels").remove(0);
    let cut = annotate(LabelKind::Soft, 64, 1).expect("labels");
    let cut: Vec<Rollout> = cut.into_iter().flat_map(|(rollouts, _)| rollouts).collect();
    assert_eq!(whole.0, cut);
    let counts = whole.1;
    // Two different first steps of each of six problems; each of four solutions has one.
    assert_eq!((counts.n_prefixes, counts.n_distinct), (24, 12));
    assert_eq!(counts.n_continuations, 12 * 64);
    assert!(counts.as_run.n_tokens * 2 < counts.as_counted.n_tokens, "{counts:?}");
    let hard = annotate(LabelKind::Hard, 64, 6).expect("labels").remove(0).0;
    let (mut n_between, mut n_last) = (0, 0);
    for (soft, hard) in whole.0.iter().zip(&hard) {
        let [soft, hard] = [soft, hard]
            .map(|rollout| rollout.step_labels().expect("valid").expect("labels").concat());
        for (idx, (soft, hard)) in soft.iter().zip(&hard).enumerate() {
            let (soft, hard) = (soft.expect("a label"), hard.expect("a label"));
            assert_eq!(hard, f64::from(u8::from(soft > 0.0)));
            n_between += usize::from(soft > 0.0 && soft < 1.0);
            // The last of two steps has the outcome's label.
            n_last += usize::from(idx % 2 == 1 && soft == [1.0, 0.0, 0.0, 1.0][idx / 2]);
        }
    }
    assert_eq!(n_last, 24);
    assert!(n_between > 0, "an ignorant model is right now and then");
    let error = annotate(LabelKind::Soft, 0, 6).expect_err("no budget").to_string();
    assert_eq!(error, "`continuations` should be at least 1, got `0`");
}

#[test]
fn self_certainty_is_the_divergence_from_uniform() {
    let tokenizer = tokenizer();
    let rollouts = rollouts();
    let engine = model(&tokenizer, None);
    let encoder = encoder(&tokenizer, &engine);
    let scorer = self_certainty(&engine, encoder.clone(), scoring());
    let scores = scorer.score(&rollouts, &mut Silent).expect("scores");
    // By hand, for the first token: all tokens as responses after the prompt.
    let prompt = encoder.prompt(&rollouts[0].prompt).expect("tokens");
    let n_vocab = tokenizer.vocab_size() as u32;
    let mut corpus = Corpus::default();
    let place = corpus.prompt(&prompt);
    for token in 0..n_vocab {
        corpus.response(place, &[token]);
    }
    let log_probs = gratis::encoding::log_probs(&engine, &corpus, 1000, &mut Silent);
    let sum: f64 = log_probs.expect("scored").iter().map(|row| f64::from(row[0])).sum();
    let expected = -sum / f64::from(n_vocab) - f64::from(n_vocab).ln();
    let of_first = &scores[0].scores[0];
    let tokens = of_first.tokens.as_ref().expect("tokens");
    // Observed: 1e-8.
    assert!((tokens[0] * tokens.len() as f64 - expected).abs() < 1e-6);
    assert!(expected > 0.0 && of_first.outcome > 0.0);
}

#[test]
fn pairs_count_by_their_own_responses() {
    let tokenizer = tokenizer();
    let mut engine = model(&tokenizer, Some(ValueHead::Linear));
    let encoder = encoder(&tokenizer, &engine);
    let data = reward_data(&rollouts(), &encoder).expect("data");
    // Four pairs a problem: two copies of the right solution, two wrong ones.
    assert_eq!(data.pairs.len(), 24);
    let first: Vec<Pair> = data.pairs[..2].to_vec();
    let examples = data.examples.clone();
    assert!(first.iter().all(|pair| examples[pair.chosen].is_correct()));
    let mut task = ValueObjective::BradleyTerry.task(Pooling::Own, data).expect("a task");
    let loss = evaluate(&Learner::Values(&mut engine), &mut task, 100).expect("evaluated");
    assert!((loss.loss - std::f64::consts::LN_2).abs() < 1e-9, "a fresh head says nothing");
    assert_eq!(loss.pair_accuracy, Some(0.0));
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    path.exists().then_some(path)
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn published_step_labels_load() {
    for (name, n_rollouts, n_good, n_bad) in [
        // Counted in the files by other means.
        ("openr_step_samples/samples_math-shepherd.jsonl", 7, 5, 20),
        ("openr_step_samples/samples_prm800k.jsonl", 6, 55, 15),
        ("prm800k_val_recovered/prm800k_val_steps.jsonl", 1338, 7655, 1110),
    ] {
        let Some(path) = shared(name) else {
            eprintln!("skipped: `{name}` is absent");
            continue;
        };
        let (rollouts, n_skipped) = published::read(&path, OnInvalid::Skip).expect("readable");
        let labels: Vec<f64> = rollouts
            .iter()
            .flat_map(|rollout| rollout.step_labels().expect("valid").expect("labels"))
            .flatten()
            .flatten()
            .collect();
        let n = |label: f64| labels.iter().filter(|&&known| known == label).count();
        let counts = (rollouts.len(), n(1.0), n(0.0));
        assert_eq!(counts, (n_rollouts, n_good, n_bad), "{name}, {n_skipped} lines left out");
        // Each becomes tokens at its steps' ends.
        let encoded = rollouts.iter().all(|rollout| {
            gratis::data::locate(
                &rollout.completions[0].text,
                rollout.completions[0].steps.as_ref().expect("steps"),
            )
            .is_ok()
        });
        assert!(encoded, "{name}");
    }
}
