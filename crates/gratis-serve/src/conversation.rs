//! Texts that trainers send as one: a rendered prompt with its response, taken apart again.
//!
//! A trainer renders the prompt with its own chat template and sends the whole text. The reward
//! model renders problems itself, so the problem is found where the model's template has it. A
//! text that another template rendered is refused: its tokens would not be those of training.

use crate::error::Failure;

/// A prompt template as text before and after the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    before: String,
    /// Between the problem and the response.
    between: String,
    /// After the response, for models whose template holds it.
    end: String,
    bos: Option<String>,
    /// Texts of the tokens that end a turn.
    ends: Vec<String>,
}

/// A problem and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) problem: String,
    pub(crate) response: String,
}

const HINT: &str = "send the problem and its candidates to `/score`, or `messages`; the template of \
                    this reward model is in `/v1/models`";

impl Form {
    /// The form of a template with `{prompt}`, or `{prompt|trim}`, and possibly `{steps}`.
    pub(crate) fn new(template: &str, bos: Option<String>, ends: Vec<String>) -> Self {
        let template = template.strip_prefix("{no_bos}").unwrap_or(template);
        let parts = template.split_once("{prompt}");
        let parts = parts.or_else(|| template.split_once("{prompt|trim}"));
        let (before, after) = parts.unwrap_or(("", ""));
        let (between, end) = after.split_once("{steps}").unwrap_or((after, ""));
        let own = |text: &str| text.to_owned();
        let mut form =
            Self { before: own(before), between: own(between), end: own(end), bos, ends };
        form.before = form.without_bos(before).to_owned();
        form
    }

    fn without_bos<'a>(&self, text: &'a str) -> &'a str {
        let bos = self.bos.as_deref().filter(|bos| !bos.is_empty());
        bos.and_then(|bos| text.strip_prefix(bos)).unwrap_or(text)
    }

    /// A response without the token that ended its turn, and without what a chat template puts after
    /// that token: the encoder ends a response as in training.
    fn without_end<'a>(&self, response: &'a str) -> &'a str {
        let trimmed = response.trim_end();
        let mut ends = self.ends.iter().filter(|end| !end.is_empty());
        ends.find_map(|end| trimmed.strip_suffix(end.as_str())).unwrap_or(response)
    }

    /// Whether the template is the problem alone.
    fn is_bare(&self) -> bool {
        self.before.is_empty() && self.between.is_empty()
    }

    /// A text whose prompt is known.
    ///
    /// # Errors
    /// If the text does not begin with the prompt, or another template rendered it.
    pub(crate) fn split_after(&self, prompt: &str, text: &str) -> Result<Exchange, Failure> {
        let (prompt, text) = (self.without_bos(prompt), self.without_bos(text));
        let Some(response) = text.strip_prefix(prompt) else {
            let message = "the text does not begin with its prompt";
            return Err(Failure::invalid(message).hinted(HINT));
        };
        let response = self.without_end(response).to_owned();
        Ok(Exchange { problem: self.problem(prompt)?, response })
    }

    /// The problem in a prompt: rendered by the model's template, or the problem itself.
    fn problem(&self, prompt: &str) -> Result<String, Failure> {
        if self.is_bare() {
            return Ok(prompt.to_owned());
        }
        let rendered = prompt.strip_prefix(&self.before);
        if let Some(problem) = rendered.and_then(|rest| rest.strip_suffix(&self.between)) {
            return Ok(problem.to_owned());
        }
        let mark = self.between.trim();
        if !mark.is_empty() && prompt.contains(mark) {
            let message = "the prompt was rendered by another template, or with another system \
                           message, than the reward model's";
            return Err(Failure::invalid(message).hinted(HINT));
        }
        Ok(prompt.to_owned())
    }

    /// A text whose prompt is not known.
    ///
    /// # Errors
    /// If the model's template did not render it.
    pub(crate) fn split(&self, text: &str) -> Result<Exchange, Failure> {
        let refused = |message: &str| Err(Failure::invalid(message).hinted(HINT));
        if self.between.is_empty() {
            return refused(
                "the template of this reward model does not mark where a response begins",
            );
        }
        let rendered = self.without_bos(text).strip_prefix(&self.before);
        let Some((problem, response)) = rendered.and_then(|rest| rest.split_once(&self.between))
        else {
            return refused("the text was not rendered by the template of this reward model");
        };
        let response = response.strip_suffix(&self.end).unwrap_or(response);
        let response = self.without_end(response).to_owned();
        Ok(Exchange { problem: problem.to_owned(), response })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "{no_bos}<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n";

    fn form(template: &str) -> Form {
        Form::new(template, Some("<s>".to_owned()), vec!["<|im_end|>".to_owned()])
    }

    #[test]
    fn a_rendered_text_is_taken_apart() {
        let text = "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>";
        let prompt = "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n";
        let expected = Exchange { problem: "1 + 1?".into(), response: "2".into() };
        assert_eq!(form(CHAT).split(text).expect("split"), expected);
        // As a chat template ends the turn of the assistant.
        assert_eq!(form(CHAT).split(&format!("{text}\n")).expect("split"), expected);
        assert_eq!(form(CHAT).split_after(prompt, text).expect("split"), expected);
        let begun = format!("<s>{text}");
        assert_eq!(form(CHAT).split_after(prompt, &begun).expect("split"), expected);
        assert_eq!(form(&format!("<s>{}", &CHAT[8..])).split(&begun).expect("split"), expected);
    }

    #[test]
    fn a_plain_prompt_is_the_problem() {
        let expected = Exchange { problem: "1 + 1? ".into(), response: "2".into() };
        for template in ["{prompt}", CHAT] {
            assert_eq!(
                form(template).split_after("1 + 1? ", "<s>1 + 1? 2").expect("split"),
                expected
            );
        }
        let expected = Exchange { problem: "p".into(), response: "a".into() };
        assert_eq!(
            form("Q: {prompt|trim} A: {steps}</s>").split("Q: p A: a</s>").expect("split"),
            expected
        );
    }

    #[test]
    fn a_text_of_another_template_is_refused() {
        let system = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nq<|im_end|>\n\
                      <|im_start|>assistant\n";
        let said = |result: Result<Exchange, Failure>| result.expect_err("refused").to_string();
        assert!(
            said(form(CHAT).split_after(system, &format!("{system}2")))
                .contains("another template")
        );
        assert!(said(form(CHAT).split(&format!("{system}2"))).contains("not rendered"));
        assert!(said(form("{prompt}").split("1 + 1 2")).contains("does not mark"));
        assert!(said(form(CHAT).split_after("a", "b")).contains("begin with its prompt"));
    }
}
