//! The tag at the end of a prompt that a completion may repeat.
//!
//! The prompts of reasoning models end in `<think>`. Traces from other programs often begin with
//! the same tag. Concatenated unchanged, the tag occurs twice, and every token after it is scored
//! under a text that the model never saw.

/// The tag that a prompt ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The tag, such as `<think>`.
    pub tag: &'a str,
    /// The white space after it, at the end of the prompt.
    pub space: &'a str,
}

impl<'a> Opening<'a> {
    /// The tag at the end of `prompt`: `<`, a name of letters, digits, `_` and `-`, `>`, and white
    /// space. `None` for any other end, such as that of a special token (`<|assistant|>`) or of a
    /// tag that closes.
    pub fn of(prompt: &'a str) -> Option<Self> {
        let text = prompt.trim_end();
        let space = &prompt[text.len()..];
        let start = text.strip_suffix('>')?.rfind('<')?;
        let tag = &text[start..];
        let name = &tag[1..tag.len() - 1];
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        (!name.is_empty() && name.chars().all(is_of_name)).then_some(Self { tag, space })
    }

    /// Bytes at the beginning of `completion` that repeat what the prompt ended with: white space,
    /// the tag, and as much of the prompt's white space as follows it. 0 if it does not begin with
    /// the tag.
    pub fn repeated(&self, completion: &str) -> usize {
        let Some(rest) = completion.trim_start().strip_prefix(self.tag) else { return 0 };
        let n_space = self
            .space
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .rev()
            .find(|&end| rest.starts_with(&self.space[..end]))
            .unwrap_or(0);
        completion.len() - rest.len() + n_space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_at_the_end_of_a_prompt_is_found() {
        let tag = |prompt| Opening::of(prompt).map(|opening| (opening.tag, opening.space));
        assert_eq!(tag("<|assistant|>\n<think>\n"), Some(("<think>", "\n")));
        assert_eq!(tag("user <seed:think>"), None);
        assert_eq!(tag("a <thinking_1>"), Some(("<thinking_1>", "")));
        for prompt in ["", "a", "<|im_start|>assistant\n", "</think>\n\n", "<>", ">", "a > b"] {
            assert_eq!(tag(prompt), None, "{prompt}");
        }
    }

    #[test]
    fn what_a_completion_repeats_is_counted_in_bytes() {
        let rest = |prompt, completion: &'static str| {
            let opening = Opening::of(prompt).expect("a tag");
            &completion[opening.repeated(completion)..]
        };
        assert_eq!(rest("<think>\n", "<think>\nOkay"), "Okay");
        assert_eq!(rest("<think>\n", "\n<think>\n\nOkay"), "\nOkay");
        assert_eq!(rest("<think>\n", "<think>Okay"), "Okay");
        assert_eq!(rest("<think>", "<think>\nOkay"), "\nOkay");
        assert_eq!(rest("<think>\n\n", "<think>\nOkay"), "Okay");
        for completion in ["Okay", "", "<thinking>", "</think>", "Okay <think>"] {
            assert_eq!(rest("<think>\n", completion), completion);
        }
    }
}
