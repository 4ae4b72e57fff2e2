//! Tokens of completions: to which step each belongs, and what stands at their ends.

use gratis::data::{Completion, Rollout, StepSplit, StepSplitter};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::reward::step_ends_in_tokens;
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
    let tokens = encoder.completion(&rollout, 0, 1).expect("encoded").expect("it fits").tokens;
    tokens.iter().map(|&id| encoder.tokenizer().id_to_token(id).expect("known")).collect()
}

#[test]
fn the_first_word_of_a_step_belongs_to_it() {
    let tokenizer = tokenizer(None);
    let encoder = encoder(&tokenizer, "{prompt}");
    let tokens_per_step = |text: &str, split: StepSplit| {
        let rollout =
            Rollout { prompt: "a".into(), completions: vec![text.into()], ..Rollout::default() };
        let encoded = encoder.completion(&rollout, 0, 1).expect("encoded").expect("it fits");
        let steps = StepSplitter::new(&split).expect("valid").split(text);
        let mut start = 0;
        let ends = step_ends_in_tokens(&encoded.starts, &steps);
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
