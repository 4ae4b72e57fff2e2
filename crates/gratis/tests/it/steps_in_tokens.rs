//! Tokens of completions: to which step each belongs, and what stands at their ends.

use gratis::Error;
use gratis::data::{Completion, Rollout, StepSplit, StepSplitter};
use gratis::encoding::{Corpus, Encoder, OnOverlong, TokenIds, encode_rollouts};
use gratis::reward::Rewards;
use gratis_engine::{FinishReason, ModelDescription};
use gratis_model::{SpecialTokens, Tokenizer};

/// A tokenizer whose words hold the space before them, as byte-level ones do.
fn tokenizer(bos: Option<&str>) -> Tokenizer {
    let special =
        SpecialTokens { pad: None, bos: bos.map(str::to_owned), eos: Some("</s>".to_owned()) };
    let phrases = ["a", "b", " a", " b", "\n\n", "\n", " ", ".", " Step", "Step", " 2", "<think>"];
    Tokenizer::from_phrases(&phrases.map(str::to_owned), &special).expect("valid")
}

fn encoder<'a>(tokenizer: &'a Tokenizer, template: &str) -> Encoder<'a> {
    let description = ModelDescription {
        architecture: String::new(),
        n_parameters: 0,
        vocab_size: tokenizer.vocab_size(),
        context_length: 64,
        preferred_batch_tokens: 64,
        n_concurrent_batches: 1,
    };
    Encoder::new(tokenizer, template, &description, OnOverlong::Stop).expect("valid")
}

/// The tokens of a completion, as they are spelt.
fn spelt(encoder: &Encoder, completion: Completion) -> Vec<String> {
    let rollout =
        Rollout { prompt: "a".into(), completions: vec![completion], ..Rollout::default() };
    let tokens = encoder.completion_tokens(&rollout, 0, 1).expect("encoded").expect("it fits");
    tokens.iter().map(|&id| encoder.tokenizer().id_to_token(id).expect("known")).collect()
}

#[test]
fn the_first_word_of_a_step_belongs_to_it() {
    let tokenizer = tokenizer(None);
    let encoder = encoder(&tokenizer, "{prompt}");
    let tokens_per_step = |text: &str, split: StepSplit| {
        let rollout =
            Rollout { prompt: "a".into(), completions: vec![text.into()], ..Rollout::default() };
        let encoded =
            encode_rollouts(&[rollout], &encoder, &mut Corpus::default()).expect("encoded");
        let steps = StepSplitter::new(&split).expect("valid").split(text);
        let mut start = 0;
        let ends = Rewards::step_ends_in_tokens(&encoded[0].starts, &steps);
        ends.iter().map(|&end| end - std::mem::replace(&mut start, end)).collect::<Vec<_>>()
    };
    // `a`, `\n\n`; ` b`, `\n\n`; `Step`, ` 2` and the end token.
    assert_eq!(tokens_per_step("a\n\n b\n\nStep 2", StepSplit::Paragraphs), [2, 2, 3]);
    // `a`, `.`; ` b`, `.` and the end token.
    assert_eq!(tokens_per_step("a. b.", StepSplit::Sentences), [2, 3]);
}

#[test]
fn a_completion_gets_no_second_end_and_one_cut_off_gets_none() {
    let tokenizer = tokenizer(Some("<s>"));
    let encoder = encoder(&tokenizer, "{prompt}<think>\n");
    assert_eq!(spelt(&encoder, "a".into()), ["a", "</s>"]);
    assert_eq!(spelt(&encoder, "a</s>".into()), ["a", "</s>"]);
    assert_eq!(spelt(&encoder, "a</s>\n".into()), ["a", "</s>"]);
    assert_eq!(spelt(&encoder, "<s>a".into()), ["a", "</s>"]);
    assert_eq!(spelt(&encoder, "<think>\na".into()), ["a", "</s>"]);
    let cut = Completion { finish_reason: Some(FinishReason::Length), ..Completion::from("a b") };
    assert_eq!(spelt(&encoder, cut.clone()), ["a", " b"]);
    let completions = vec![cut, "a</s>".into(), "<s>a".into(), "<think>\na".into(), "a".into()];
    let rollout = Rollout { prompt: "a".into(), completions, ..Rollout::default() };
    let unusual = encoder.unusual(&[rollout]);
    assert_eq!(
        (unusual.cut_off, unusual.own_end, unusual.own_begin, unusual.repeated_openings),
        (1, 1, 1, 1)
    );
    assert_eq!(unusual.remarks().len(), 4);
}

/// A completion with these tokens, given by their spelling; `text` need not be what they say.
fn sampled(tokenizer: &Tokenizer, text: &str, tokens: &[&str]) -> Completion {
    let id = |token: &&str| tokenizer.token_to_id(token).expect("known");
    Completion { token_ids: Some(tokens.iter().map(id).collect()), ..text.into() }
}

#[test]
fn token_ids_are_used_as_they_are() {
    let tokenizer = tokenizer(Some("<s>"));
    let encoder = encoder(&tokenizer, "{prompt}");
    // The tokenizer itself would take `\n\n` as one token and add an end token.
    let tokens = ["a", "\n", "\n", "b"];
    let text = "a\n\nb";
    assert_eq!(spelt(&encoder, text.into()), ["a", "\n\n", "b", "</s>"]);
    let given = sampled(&tokenizer, text, &tokens);
    assert_eq!(spelt(&encoder, given.clone()), tokens);
    let ignored = encoder.clone().with_token_ids(TokenIds::Ignore);
    assert_eq!(spelt(&ignored, given.clone()), ["a", "\n\n", "b", "</s>"]);
    let none = Completion { token_ids: Some(Vec::new()), ..Completion::from("a") };
    assert_eq!(spelt(&encoder, none), ["a", "</s>"], "an empty list is none");

    // Steps end by the same rule, also where white space around the text or a stop text was removed.
    let ends = |completion: Completion, n_steps: usize| {
        let text = completion.text.clone();
        let rollout =
            Rollout { prompt: "a".into(), completions: vec![completion], ..Rollout::default() };
        let encoded =
            encode_rollouts(&[rollout], &encoder, &mut Corpus::default()).expect("encoded");
        let steps = StepSplitter::new(&StepSplit::Paragraphs).expect("valid").split(&text);
        assert_eq!(steps.len(), n_steps);
        Rewards::step_ends_in_tokens(&encoded[0].starts, &steps)
    };
    assert_eq!(ends(given, 2), [3, 4]);
    let stripped = sampled(&tokenizer, "a\n\nb", &[" a", "\n\n", "b", "\n\n", "</s>"]);
    assert_eq!(ends(stripped, 2), [2, 5]);
    let stopped = sampled(&tokenizer, "a\n\nb\n\na", &["a", "\n\n", "b", "\n\n", " a", "Step"]);
    assert_eq!(ends(stopped, 3), [2, 4, 6]);
}

#[test]
fn token_ids_are_checked_and_counted() {
    let tokenizer = tokenizer(None);
    let encoder = encoder(&tokenizer, "{prompt}");
    let with = |completions: Vec<Completion>| Rollout {
        id: Some("seven".into()),
        prompt: "a".into(),
        completions,
        ..Rollout::default()
    };
    let encode = |rollout: Rollout| encode_rollouts(&[rollout], &encoder, &mut Corpus::default());
    let cut = Completion {
        finish_reason: Some(FinishReason::Length),
        ..sampled(&tokenizer, "a b", &["a", " b"])
    };
    let whole = sampled(&tokenizer, "a", &["a", "</s>"]);
    let open = sampled(&tokenizer, "a", &["a"]);
    let other = sampled(&tokenizer, "a b", &["a", " b", " Step", "</s>"]);
    let rollout = with(vec![cut, whole.clone(), open, other, "a".into()]);
    let unusual = encoder.unusual(std::slice::from_ref(&rollout));
    assert_eq!((unusual.given_ids, unusual.other_text, unusual.open_ids), (4, 1, 1));
    assert_eq!(unusual.remarks().len(), 3);
    assert_eq!(encode(rollout).expect("encoded").len(), 5);

    let n_vocab = tokenizer.vocab_size() as u32;
    let outside = Completion { token_ids: Some(vec![0, n_vocab]), ..Completion::from("a") };
    let error = encode(with(vec![whole, outside])).expect_err("outside the vocabulary");
    assert_eq!(
        error.to_string(),
        format!(
            "token 2 of completion 2 of problem `seven` has the id {n_vocab}, but the model's \
             vocabulary has {n_vocab} tokens"
        )
    );
    assert!(error.hint().expect("a hint").contains("--token-ids ignore"));

    let foreign = sampled(&tokenizer, "Step 2", &[" b", ".", "a", "\n", ".", "</s>"]);
    encode(with(vec![foreign.clone(); 3])).expect("a few odd ones are scored");
    let error = encode(with(vec![foreign; 4])).expect_err("another tokenizer");
    assert!(matches!(error, Error::ForeignTokenIds { n: 4, n_given: 4 }), "{error}");
}
