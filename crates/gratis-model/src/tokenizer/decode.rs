//! Tokens back to text, with the part of the text that each token stands for.

use std::ops::Range;

use super::Tokenizer;
use super::files::guarded;
use crate::error::Result;

/// The text of some tokens, with each token's place in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoding {
    /// The text.
    pub text: String,
    /// Bytes of the text that each token stands for: `[n_tokens]`. The tokens of one character that
    /// takes several all have that character's bytes; a token without text has an empty range.
    pub offsets: Vec<Range<usize>>,
}

/// Whether special tokens are part of a decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialText {
    /// They stand for no text.
    Skip,
    /// They stand for their name.
    Keep,
}

/// Tokens whose bytes are no text by themselves are held back for at most this many further tokens.
const MAX_PENDING: usize = 16;
/// Tokens before the next one that it is decoded together with, at most.
const MAX_CONTEXT: usize = 64;

impl Tokenizer {
    /// The text of `ids`, with each token's place in it.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] if the decoder fails.
    pub fn decode_with_offsets(&self, ids: &[u32], special: SpecialText) -> Result<Decoding> {
        let decode = |ids: &[u32]| {
            guarded("cannot decode tokens", || self.inner.decode(ids, special == SpecialText::Skip))
        };
        let mut decoding = Decoding::default();
        // The tokens that have a text; those of `ids[start..pending]` are decoded as context.
        let mut plain: Vec<u32> = Vec::with_capacity(ids.len());
        let (mut start, mut pending) = (0, 0);
        let mut context = String::new();
        // Tokens, by index in `ids`, whose range is not known yet.
        let mut open: Vec<usize> = Vec::new();
        let n_plain = ids.iter().filter(|&&id| !self.is_skipped(id, special)).count();
        for (idx, &id) in ids.iter().enumerate() {
            let end = decoding.text.len();
            decoding.offsets.push(end..end);
            if self.is_skipped(id, special) {
                continue;
            }
            plain.push(id);
            open.push(idx);
            let text = decode(&plain[start..])?;
            let is_last = plain.len() == n_plain;
            if text.ends_with('\u{fffd}') && open.len() < MAX_PENDING && !is_last {
                continue;
            }
            let chunk = text.strip_prefix(context.as_str()).unwrap_or_default();
            let range = end..end + chunk.len();
            decoding.text.push_str(chunk);
            for idx in open.drain(..) {
                decoding.offsets[idx] = range.clone();
            }
            if chunk.is_empty() && plain.len() - start < MAX_CONTEXT {
                context = text;
                pending = plain.len();
                continue;
            }
            (start, pending) = (pending, plain.len());
            context = decode(&plain[start..pending])?;
        }
        Ok(decoding)
    }

    fn is_skipped(&self, id: u32, special: SpecialText) -> bool {
        special == SpecialText::Skip
            && self
                .inner
                .id_to_token(id)
                .is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SpecialTokens;
    use super::*;

    fn tokenizer(texts: &[&str]) -> Tokenizer {
        let special = SpecialTokens { eos: Some("</s>".to_owned()), ..SpecialTokens::default() };
        Tokenizer::train_bpe(texts.iter().copied(), 300, &special).expect("trained")
    }

    #[test]
    fn offsets_are_those_of_encoding() {
        let tokenizer = tokenizer(&["Step 1: we add", "and so on", "1 + 2 = 3"]);
        for text in ["Step 1: we add\n\nStep 2: 3é = 日本語 🎉 so", " a  b ", "", "é"] {
            let encoding = tokenizer.encode(text).expect("encoded");
            let decoding =
                tokenizer.decode_with_offsets(&encoding.ids, SpecialText::Skip).expect("decoded");
            assert_eq!(decoding.text, text);
            assert_eq!(decoding.offsets, encoding.offsets, "{text}");
        }
    }

    #[test]
    fn special_tokens_stand_for_nothing_or_their_name() {
        let tokenizer = tokenizer(&["ab ab"]);
        let eos = tokenizer.eos().expect("an end");
        let mut ids = tokenizer.encode("ab").expect("encoded").ids;
        let n = ids.len();
        ids.extend([eos, ids[0]]);
        let skipped = tokenizer.decode_with_offsets(&ids, SpecialText::Skip).expect("decoded");
        assert_eq!(skipped.offsets[n], 2..2);
        assert!(skipped.text.starts_with("ab") && skipped.offsets[n + 1].start == 2);
        let kept = tokenizer.decode_with_offsets(&ids, SpecialText::Keep).expect("decoded");
        assert_eq!(&kept.text[kept.offsets[n].clone()], "</s>");
    }

    #[test]
    fn bytes_that_are_no_text_keep_their_tokens_in_order() {
        let tokenizer = tokenizer(&["ab ab"]);
        // The first byte of a character, again and again, then a letter.
        let lead = tokenizer.encode("é").expect("encoded").ids[0];
        let mut ids = vec![lead; 40];
        ids.extend(tokenizer.encode("ab").expect("encoded").ids);
        let decoding = tokenizer.decode_with_offsets(&ids, SpecialText::Skip).expect("decoded");
        assert!(decoding.text.ends_with("ab"));
        assert!(decoding.offsets.is_sorted_by_key(|range| range.start));
        assert_eq!(decoding.offsets.last().map(|range| range.end), Some(decoding.text.len()));
    }
}
