//! Published reward models: what `reward_model::open` gives is what the published procedures give
//! with `transformers` (`fixtures/make_reward_model_fixtures.py`), and what is wrong is named.

use std::fs;
use std::path::{Path, PathBuf};

use gratis::Room;
use gratis::Silent;
use gratis::data::{Completion, Extent, ModelFormat, ProblemScores, Rollout, ScoreKind};
use gratis::encoding::OnOverlong;
use gratis::reward_model::{
    LoadOptions, NoHub, OpenOptions, ReferenceChoice, RewardModel, Weights, open,
};
use gratis::selection::Aggregation;
use gratis_model::chat_template::Message;
use safetensors::SafeTensors;
use serde::Deserialize;

/// What the script wrote beside a model.
#[derive(Deserialize)]
struct Golden {
    tokenizer: String,
    /// The folder of the weights.
    model: String,
    /// The kind that must be asked for, where the files do not tell.
    kind: Option<ModelFormat>,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    prompt: String,
    solutions: Vec<Solution>,
}

/// A problem with earlier messages.
#[derive(Deserialize)]
struct Conversation {
    context: Vec<Message>,
    #[serde(flatten)]
    problem: Problem,
}

#[derive(Deserialize)]
struct Solution {
    steps: Vec<String>,
    rewards: Vec<f64>,
    /// What the code of an implicit model's card gives for the solution, and the part of it that
    /// comes from the last token of the prompt.
    #[serde(default)]
    published: f64,
    #[serde(default)]
    last_of_prompt: f64,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reward_models")
}

/// A model of the fixtures with its tokenizer, in a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    golden: Golden,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let path = fixtures().join(name).join("golden.json");
        let text = fs::read_to_string(path).expect("a golden file");
        let golden: Golden = serde_json::from_str(&text).expect("golden values");
        Self::with(&golden.model.clone(), golden)
    }

    /// A model with the tokenizer and golden values of another.
    fn with(model: &str, golden: Golden) -> Self {
        let source = fixtures().join(model);
        let folder = tempfile::tempdir().expect("a folder");
        let tokenizer = fixtures().join("tokenizers").join(&golden.tokenizer);
        for (from, file) in [
            (&source, "config.json"),
            (&source, "model.safetensors"),
            (&tokenizer, "tokenizer.json"),
            (&tokenizer, "tokenizer_config.json"),
        ] {
            fs::copy(from.join(file), folder.path().join(file)).expect("copied");
        }
        Self { folder, golden }
    }

    fn open(&self, options: &OpenOptions) -> Result<RewardModel, gratis::Error> {
        open(self.folder.path(), options, &NoHub, &mut Silent)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { format: self.golden.kind, ..OpenOptions::default() }
    }

    /// Replaces a text in a file of the folder, which must hold it.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    /// What opening it says, the causes joined.
    fn fault(&self, options: &OpenOptions) -> String {
        let error = self.open(options).expect_err("invalid");
        let mut text = error.to_string();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            text.extend([": ", &source.to_string()]);
            cause = source;
        }
        text
    }

    fn rollouts(&self) -> Vec<Rollout> {
        let rollout = |problem: &Problem| Rollout {
            prompt: problem.prompt.clone(),
            completions: problem.solutions.iter().map(|s| completion(&s.steps)).collect(),
            ..Rollout::default()
        };
        self.golden.problems.iter().map(rollout).collect()
    }

    fn rewards(&self) -> Vec<Vec<Vec<f64>>> {
        let of = |problem: &Problem| problem.solutions.iter().map(|s| s.rewards.clone()).collect();
        self.golden.problems.iter().map(of).collect()
    }
}

/// Remarks that are kept.
#[derive(Default)]
struct Remarks(Vec<String>);

impl gratis::Observer for Remarks {
    fn note(&mut self, remark: &str) {
        self.0.push(remark.to_owned());
    }
}

fn completion(steps: &[String]) -> Completion {
    Completion::from(steps.join("\n")).with_steps(steps.to_vec())
}

fn step_rewards(scores: &[ProblemScores]) -> Vec<Vec<Vec<f64>>> {
    let of = |problem: &ProblemScores| problem.scores.iter().map(|s| s.steps.clone()).collect();
    scores.iter().map(of).collect()
}

/// Largest difference of two lists of the same shape.
fn worst(got: &[Vec<Vec<f64>>], expected: &[Vec<Vec<f64>>]) -> f64 {
    let shape = |all: &[Vec<Vec<f64>>]| -> Vec<Vec<usize>> {
        all.iter().map(|problem| problem.iter().map(Vec::len).collect()).collect()
    };
    assert_eq!(shape(got), shape(expected));
    let flat = |all: &[Vec<Vec<f64>>]| all.iter().flatten().flatten().copied().collect::<Vec<_>>();
    let pairs = flat(got).into_iter().zip(flat(expected));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Opens a fixture, checks its scores against the golden ones and against passes with less in them,
/// and answers with the largest error.
fn check(name: &str, format: ModelFormat, aggregation: Aggregation) -> f64 {
    let fixture = Fixture::new(name);
    let rollouts = fixture.rollouts();
    let model = fixture.open(&fixture.options()).expect(name);
    assert_eq!(model.format(), Some(format));
    let scores = model.score(&rollouts, &mut Silent).expect("scores");
    let got = step_rewards(&scores);
    let error = worst(&got, &fixture.rewards());
    // Observed: at most 2.7e-6 for numbers of about 2 (`armo-rm`), 3e-7 for probabilities.
    let is_number = aggregation == Aggregation::Outcome;
    assert!(error < if is_number { 5e-6 } else { 1e-6 }, "{name}: {error:e}");
    for problem in &scores {
        let origin = problem.origin.as_ref().expect("an origin");
        assert_eq!(
            (origin.kind, origin.aggregation),
            (ScoreKind::Published(format), Some(aggregation))
        );
    }
    for scored in scores.iter().flat_map(|problem| &problem.scores) {
        assert_eq!(scored.q_values, scored.steps);
        assert_eq!(Some(&scored.outcome), scored.steps.last());
        assert_eq!(scored.step_ends.len(), scored.steps.len());
    }

    // Alone as among others, and in small batches from mapped files.
    let alone: Vec<Vec<Vec<f64>>> = rollouts
        .iter()
        .map(|rollout| {
            let one = |idx: usize| {
                let alone = rollout.with_completions(&[idx]);
                step_rewards(&model.score(&[alone], &mut Silent).expect("scores"))[0][0].clone()
            };
            (0..rollout.completions.len()).map(one).collect()
        })
        .collect();
    let difference = worst(&alone, &got);
    // Observed: at most 7.2e-7.
    assert!(difference < 2e-6, "{name}: {difference:e}");
    let mapped = OpenOptions {
        load: LoadOptions { weights: Weights::Mapped, n_threads: 2, ..LoadOptions::default() },
        batch_tokens: 64,
        ..fixture.options()
    };
    let mapped = fixture.open(&mapped).expect(name).score(&rollouts, &mut Silent).expect("scores");
    assert!(worst(&step_rewards(&mapped), &got) < 1e-6);

    // One pass over all steps is as good as one per step.
    if aggregation != Aggregation::Outcome {
        for (rollout, rewards) in rollouts.iter().zip(&got) {
            for (completion, rewards) in rollout.completions.iter().zip(rewards) {
                let steps = completion.steps.as_deref().expect("steps");
                for n in 1..=steps.len() {
                    let cut = Rollout {
                        prompt: rollout.prompt.clone(),
                        completions: vec![self::completion(&steps[..n])],
                        ..Rollout::default()
                    };
                    let cut = model.score(&[cut], &mut Silent).expect("scores");
                    let last = cut[0].scores[0].outcome;
                    assert!((last - rewards[n - 1]).abs() < 1e-6, "{name}, {n} steps");
                }
            }
        }
    }

    // What it costs: at most as much as every solution on its own.
    let (_, work) = model.score_counted(&rollouts, &mut Silent).expect("counted");
    assert!(work.as_run.n_tokens <= work.as_counted.n_tokens && work.as_run.n_tokens > 0);
    error
}

#[test]
fn outcome_heads_agree_with_transformers() {
    for name in ["skywork-reward-llama", "skywork-reward-qwen3"] {
        check(name, ModelFormat::SequenceClassification, Aggregation::Outcome);
    }
    check("eurus-rm", ModelFormat::EurusRm, Aggregation::Outcome);
}

#[test]
fn step_heads_agree_with_transformers() {
    for name in ["trl-one-label", "trl-two-labels"] {
        check(name, ModelFormat::TokenClassification, Aggregation::Min);
    }
    check("qwen-prm", ModelFormat::QwenPrm, Aggregation::Prod);
    check("value-head-prm", ModelFormat::ValueHeadPrm, Aggregation::Min);
}

#[test]
fn plus_or_minus_agrees_with_one_pass_per_step_in_transformers() {
    check("math-shepherd", ModelFormat::MathShepherd, Aggregation::Min);
    check("rlhflow-prm", ModelFormat::RlhflowPrm, Aggregation::Mean);
    check("rlhflow-orm", ModelFormat::RlhflowOrm, Aggregation::Outcome);
}

#[test]
fn gated_objectives_agree_with_transformers() {
    check("armo-rm", ModelFormat::ArmoRm, Aggregation::Outcome);
}

#[test]
fn earlier_messages_go_through_the_chat_template_as_in_transformers() {
    for name in [
        "skywork-reward-llama",
        "skywork-reward-qwen3",
        "armo-rm",
        "qwen-prm",
        "rlhflow-prm",
        "rlhflow-orm",
    ] {
        let fixture = Fixture::new(name);
        let text = fs::read_to_string(fixtures().join(name).join("conversations.json"));
        let conversations: Vec<Conversation> =
            serde_json::from_str(&text.expect("a file")).expect("golden values");
        let rollout = |conversation: &Conversation| Rollout {
            context: conversation.context.clone(),
            prompt: conversation.problem.prompt.clone(),
            completions: conversation
                .problem
                .solutions
                .iter()
                .map(|s| completion(&s.steps))
                .collect(),
            ..Rollout::default()
        };
        let rollouts: Vec<Rollout> = conversations.iter().map(rollout).collect();
        let model = fixture.open(&fixture.options()).expect(name);
        let got = step_rewards(&model.score(&rollouts, &mut Silent).expect("scores"));
        let of =
            |one: &Conversation| one.problem.solutions.iter().map(|s| s.rewards.clone()).collect();
        let expected: Vec<Vec<Vec<f64>>> = conversations.iter().map(of).collect();
        let error = worst(&got, &expected);
        // Observed: at most 2.4e-6 (`armo-rm`).
        assert!(error < 5e-6, "{name}: {error:e}");
        // The messages count.
        let alone = step_rewards(&model.score(&fixture.rollouts(), &mut Silent).expect("scores"));
        assert!(worst(&alone, &got[..alone.len()]) > 1e-3, "{name}");
        let (_, work) = model.score_counted(&rollouts, &mut Silent).expect("counted");
        assert!(work.as_run.n_tokens > 0);
    }
}

#[test]
fn a_prompt_without_a_place_for_earlier_messages_is_named() {
    for name in ["eurus-rm", "math-shepherd", "value-head-prm", "trl-two-labels"] {
        let fixture = Fixture::new(name);
        let model = fixture.open(&fixture.options()).expect(name);
        let mut rollouts = fixture.rollouts();
        rollouts[1].context = vec![Message::system("Be brief.")];
        rollouts[1].id = Some("second".to_owned());
        let error = model.score(&rollouts, &mut Silent).expect_err("refused");
        let format = model.format().expect("a format");
        let expected = format!(
            "problem `second` has earlier messages, and the published prompt of the kind `{format}` \
             has no place for them"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_implicit_model_has_its_coefficient_and_prompt() {
    let fixture = Fixture::new("implicit-prm");
    let reference = Fixture::with("implicit-prm-reference", Fixture::new("implicit-prm").golden);
    let options = OpenOptions {
        reference: ReferenceChoice::At(reference.folder.path().to_owned()),
        ..fixture.options()
    };
    let model = fixture.open(&options).expect("a model");
    assert_eq!((model.beta(), model.aggregation()), (0.001, Aggregation::Min));
    assert_eq!(model.origin().kind, ScoreKind::Implicit);
    let rollouts: Vec<Rollout> = fixture
        .golden
        .problems
        .iter()
        .map(|problem| {
            let completion =
                |s: &Solution| Completion::from(s.steps.join("\n\n")).with_steps(s.steps.clone());
            Rollout {
                prompt: problem.prompt.clone(),
                completions: problem.solutions.iter().map(completion).collect(),
                ..Rollout::default()
            }
        })
        .collect();
    let scores = model.score(&rollouts, &mut Silent).expect("scores");
    let error = worst(&step_rewards(&scores), &fixture.rewards());
    // Observed: 6.3e-9, with a coefficient of 0.001.
    assert!(error < 2e-8, "{error:e}");
    let scored = scores.iter().flat_map(|problem| &problem.scores);
    let solutions = fixture.golden.problems.iter().flat_map(|problem| &problem.solutions);
    for (scored, solution) in scored.zip(solutions) {
        let difference = scored.outcome + solution.last_of_prompt - solution.published;
        assert!(difference.abs() < 2e-8, "{difference:e}");
    }
}

#[test]
fn the_aggregation_of_the_paper_is_an_option_away() {
    let fixture = Fixture::new("qwen-prm");
    let options = OpenOptions { aggregation: Some(Aggregation::Min), ..fixture.options() };
    assert_eq!(
        fixture.open(&options).expect("a model").origin().aggregation,
        Some(Aggregation::Min)
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let options = |format| OpenOptions { format: Some(format), ..OpenOptions::default() };
    let fault = |name: &str, format| Fixture::new(name).fault(&options(format));

    let missing = fault("trl-two-labels", ModelFormat::QwenPrm);
    let expected =
        "has no tensor `score.0.weight`, which a reward model of the kind `qwen-prm` has";
    assert!(missing.contains(expected), "{missing}");
    let labels = fault("trl-two-labels", ModelFormat::SequenceClassification);
    assert!(labels.contains("`score.weight` has the shape [2, 16]"), "{labels}");
    assert!(labels.contains("it has 1 rows"), "{labels}");

    let no_tag = Fixture::new("qwen-prm");
    no_tag.edit("tokenizer.json", "<extra_0>", "<extra_1>");
    let error = no_tag.fault(&OpenOptions::default());
    assert!(error.contains("tokens of the tag `<extra_0>`"), "{error}");

    let silent = Fixture::new("qwen-prm");
    silent.edit(
        "tokenizer_config.json",
        "{% for m in messages %}",
        "{% for m in messages if m.role != 'assistant' %}",
    );
    let error = silent.fault(&OpenOptions::default());
    assert!(error.contains("has no turn of the assistant"), "{error}");

    let bare = Fixture::new("skywork-reward-qwen3");
    bare.edit("tokenizer_config.json", "\"chat_template\"", "\"other\"");
    let error = bare.fault(&OpenOptions::default());
    assert!(error.contains("has no chat template"), "{error}");

    let fixture = Fixture::new("eurus-rm");
    for (wrong, expected) in [
        (OpenOptions { beta: Some(0.1), ..OpenOptions::default() }, "has no factor `beta`"),
        (
            OpenOptions { tokens: gratis::scoring::TokenRewards::Write, ..OpenOptions::default() },
            "gives no reward to single tokens",
        ),
    ] {
        let error = fixture.fault(&wrong);
        assert!(error.contains(&format!("the kind `eurus-rm` {expected}")), "{error}");
    }
}

#[test]
fn the_last_token_that_is_no_padding_is_read() {
    let fixture = Fixture::new("skywork-reward-padded");
    let tokenizer = fixture.open(&fixture.options()).expect("a model");
    let eos = tokenizer.model().tokenizer().eos().expect("an end");
    fixture.edit("config.json", "\"pad_token_id\": 328", &format!("\"pad_token_id\": {eos}"));
    let model = fixture.open(&fixture.options()).expect("a model");
    let scores = model.score(&fixture.rollouts(), &mut Silent).expect("scores");
    let error = worst(&step_rewards(&scores), &fixture.rewards());
    // Observed: 9.5e-7.
    assert!(error < 5e-6, "{error:e}");
    let unpadded = Fixture::new("skywork-reward-llama").rewards();
    assert!(worst(&fixture.rewards(), &unpadded) > 0.1);
}

#[test]
fn a_value_head_is_recognised_by_its_tensors_under_either_name() {
    let fixture = Fixture::new("value-head-prm");
    let path = fixture.folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("a file");
    let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
    let renamed = tensors.iter().map(|(name, view)| {
        let prefix = if name.starts_with("v_head") { "" } else { "pretrained_model." };
        (format!("{prefix}{name}"), view)
    });
    let renamed = safetensors::serialize(renamed, None).expect("serialised");
    fs::write(&path, renamed).expect("written");
    fixture.edit("config.json", "Qwen2ForPrmModel", "Qwen2ForCausalLM");
    let model = fixture.open(&fixture.options()).expect("a model");
    assert_eq!(model.format(), Some(ModelFormat::ValueHeadPrm));
    let scores = model.score(&fixture.rollouts(), &mut Silent).expect("scores");
    assert!(worst(&step_rewards(&scores), &fixture.rewards()) < 1e-6);
}

#[test]
fn a_language_model_is_recognised_by_its_published_name_and_that_is_said() {
    let fixture = Fixture::new("math-shepherd");
    let top = tempfile::tempdir().expect("a folder");
    let folder = top.path().join("math-shepherd-mistral-7b-prm");
    fs::create_dir(&folder).expect("made");
    for entry in fs::read_dir(fixture.folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
    }
    let mut remarks = Remarks::default();
    let model = open(&folder, &OpenOptions::default(), &NoHub, &mut remarks).expect("a model");
    assert_eq!(model.format(), Some(ModelFormat::MathShepherd));
    let said = remarks.0.iter().any(|remark| remark.contains("`math-shepherd`, by its name"));
    assert!(said, "{:?}", remarks.0);
    // Elsewhere the same files are those of a language model, whose reference nobody names.
    let error = fixture.fault(&OpenOptions::default());
    assert!(error.contains("no `gratis.json`"), "{error}");
}

#[test]
fn another_separator_is_an_option_of_what_is_read_at_one() {
    let fixture = Fixture::new("trl-two-labels");
    let with = |tag: &str| {
        let options = OpenOptions { step_tag: Some(tag.to_owned()), ..fixture.options() };
        let model = fixture.open(&options).expect("a model");
        step_rewards(&model.score(&fixture.rollouts(), &mut Silent).expect("scores"))
    };
    assert!(worst(&with("\n"), &fixture.rewards()) < 1e-6);
    assert!(worst(&with("\n\n"), &fixture.rewards()) > 1e-3);
    let fixture = Fixture::new("rlhflow-prm");
    let options = OpenOptions { step_tag: Some("\n".to_owned()), ..fixture.options() };
    let error = fixture.fault(&options);
    assert!(error.contains("is not read at a tag"), "{error}");
}

#[test]
fn what_exceeds_the_context_is_an_error_or_cut_by_steps() {
    let short = |name: &str, n_tokens: usize| {
        let fixture = Fixture::new(name);
        let context = format!("\"max_position_embeddings\": {n_tokens}");
        fixture.edit("config.json", "\"max_position_embeddings\": 1024", &context);
        fixture
    };
    let fixture = short("qwen-prm", 120);
    let rollouts = fixture.rollouts();
    let model = fixture.open(&fixture.options()).expect("a model");
    let error = model.score(&rollouts, &mut Silent).expect_err("too long").to_string();
    assert!(error.contains("completion 1 of problem `What is 3 + 4 - 2?`"), "{error}");
    assert!(error.contains("the context is 120"), "{error}");
    assert_eq!(model.room(&rollouts[0], 0).expect("counted"), Room::Part);
    assert_eq!(model.room(&rollouts[1], 0).expect("counted"), Room::Whole);

    let cut = OpenOptions { on_overlong: OnOverlong::Truncate, ..fixture.options() };
    let model = fixture.open(&cut).expect("a model");
    let got = step_rewards(&model.score(&rollouts, &mut Silent).expect("scores"));
    let expected = fixture.rewards();
    let (got, expected) = (&got[0][0], &expected[0][0]);
    assert!((got[0] - expected[0]).abs() < 1e-6, "{got:?}");
    assert!(got.last().is_some_and(|reward| reward.is_nan()), "the last step does not fit");

    // Half a solution has no reward.
    let outcome = short("skywork-reward-qwen3", 60);
    let cut = OpenOptions { on_overlong: OnOverlong::Truncate, ..outcome.options() };
    let model = outcome.open(&cut).expect("a model");
    assert!(!model.rewards_steps());
    let scores = model.score(&rollouts, &mut Silent).expect("the others are scored");
    assert_eq!(scores[0].scores[0].extent, Some(Extent::Skipped));
    assert!(scores[0].scores[0].outcome.is_nan());
}

#[test]
fn a_template_may_drop_a_thought_where_no_step_is_read() {
    let drops = |name: &str| {
        let fixture = Fixture::new(name);
        let shown = "{{ m.content.split('</think>')[-1] }}";
        fixture.edit("tokenizer_config.json", "{{ m.content }}", shown);
        fixture
    };
    let fixture = drops("skywork-reward-qwen3");
    let model = fixture.open(&fixture.options()).expect("a model");
    let completions = vec!["<think>5?</think>It is 4.".into(), "It is 4.".into()];
    let rollout = Rollout { prompt: "2 + 2?".to_owned(), completions, ..Rollout::default() };
    let scores = model.score(&[rollout], &mut Silent).expect("scores");
    assert_eq!(scores[0].scores[0].outcome, scores[0].scores[1].outcome);

    let fixture = drops("qwen-prm");
    let model = fixture.open(&fixture.options()).expect("a model");
    let completions = vec!["<think>5?</think>It is 4.".into()];
    let rollout = Rollout { prompt: "2 + 2?".to_owned(), completions, ..Rollout::default() };
    let error = model.score(&[rollout], &mut Silent).expect_err("a step is lost").to_string();
    assert!(error.contains("changes what the assistant says"), "{error}");
}

#[test]
fn templates_and_files_that_cannot_be_scored_in_are_named() {
    // Earlier turns that depend on later ones: one pass would not be what many are.
    let fixture = Fixture::new("rlhflow-prm");
    let last = "{% if loop.last %}!{% endif %}<|start_header_id|>";
    let template = "<|start_header_id|>{{ m.role }}";
    fixture.edit("tokenizer_config.json", template, &format!("{last}{{{{ m.role }}}}"));
    let model = fixture.open(&fixture.options()).expect("one turn is as it should be");
    let error = model.score(&fixture.rollouts(), &mut Silent).expect_err("many are not");
    assert!(error.to_string().contains("prints earlier turns otherwise"), "{error}");

    let opens = Fixture::new("armo-rm");
    opens.edit("tokenizer_config.json", "<|eot_id|>{% endfor %}", "{% endfor %}");
    let error = opens.fault(&opens.options());
    assert!(error.contains("does not open the turn of the assistant"), "{error}");

    let file = tempfile::tempdir().expect("a folder");
    let path = file.path().join("model.gguf");
    fs::write(&path, "").expect("written");
    let options = OpenOptions { format: Some(ModelFormat::QwenPrm), ..OpenOptions::default() };
    let error = open(&path, &options, &NoHub, &mut Silent).expect_err("no head");
    let error = std::error::Error::source(&error).expect("a reason").to_string();
    assert!(error.contains("a GGUF file holds no head of the kind `qwen-prm`"), "{error}");

    let chat = Fixture::new("eurus-rm");
    let mut options = chat.options();
    options.prompt.chat_system = Some("Be kind.".to_owned());
    assert!(chat.fault(&options).contains("without a chat template"));
    options.prompt.template = Some("Q: {prompt}".to_owned());
    assert!(chat.fault(&options).contains("part of its format"));
}
