//! Scores of completions seen before, least recently used out first, within a bound on memory.
//!
//! The key covers all that the score of a completion depends on beside the model: the conversation,
//! the text, its steps, its token ids, its mask and how it ended.

use gratis::data::{Completion, Rollout, Scored};
use lru::LruCache;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Names a completion of a problem.
pub(crate) type Key = [u8; 32];

/// The key of a completion.
pub(crate) fn key(rollout: &Rollout, completion: &Completion) -> Key {
    let Completion { text, steps, token_ids, finish_reason, mask, .. } = completion;
    let reason = finish_reason.map(|reason| format!("{reason:?}"));
    let parts = json!([rollout.context, rollout.prompt, text, steps, token_ids, reason, mask]);
    Sha256::digest(parts.to_string().as_bytes()).into()
}

/// A bounded map from completions to scores.
#[derive(Debug)]
pub(crate) struct ScoreCache {
    scores: LruCache<Key, Scored>,
    n_bytes: usize,
    max_bytes: usize,
}

impl ScoreCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { scores: LruCache::unbounded(), n_bytes: 0, max_bytes }
    }

    /// The score of a completion, which is then the most recently used.
    pub(crate) fn get(&mut self, key: &Key) -> Option<Scored> {
        self.scores.get(key).cloned()
    }

    /// Adds a score; those not used for longest make room for it. One that exceeds the bound alone is
    /// not kept.
    pub(crate) fn insert(&mut self, key: Key, scored: Scored) {
        let n_new = n_bytes(&scored);
        if n_new > self.max_bytes {
            return;
        }
        self.n_bytes += n_new;
        if let Some((_, old)) = self.scores.push(key, scored) {
            self.n_bytes -= n_bytes(&old);
        }
        while self.n_bytes > self.max_bytes
            && let Some((_, old)) = self.scores.pop_lru()
        {
            self.n_bytes -= n_bytes(&old);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

/// Memory of an entry: its lists, and what the map takes beside them.
fn n_bytes(scored: &Scored) -> usize {
    let n_values = scored.steps.len() + scored.q_values.len() + scored.step_ends.len();
    let n_tokens = scored.tokens.as_ref().map_or(0, Vec::len);
    let n_ids = scored.token_ids.as_ref().map_or(0, Vec::len);
    let n_ends = scored.token_step_ends.as_ref().map_or(0, Vec::len);
    let n_masked = scored.masked_tokens.as_ref().map_or(0, Vec::len);
    let own = size_of::<Scored>() + 2 * size_of::<Key>() + 64;
    own + 8 * (n_values + n_tokens + n_ends + 2 * n_masked) + 4 * n_ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(n: usize) -> Scored {
        Scored { steps: vec![0.0; n], ..Scored::default() }
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let of_ten = n_bytes(&scored(10));
        let mut cache = ScoreCache::new(3 * of_ten);
        for name in 0..3 {
            cache.insert([name; 32], scored(10));
        }
        assert!(cache.get(&[0; 32]).is_some());
        cache.insert([3; 32], scored(10));
        assert!(cache.get(&[1; 32]).is_none() && cache.get(&[0; 32]).is_some());
        // The same key again replaces its entry.
        cache.insert([3; 32], scored(5));
        assert_eq!((cache.len(), cache.n_bytes()), (3, 2 * of_ten + n_bytes(&scored(5))));
        cache.insert([4; 32], scored(1000));
        assert_eq!(cache.len(), 3, "too large to keep");
        assert!(cache.n_bytes() <= 3 * of_ten);
    }

    #[test]
    fn the_key_sees_all_that_a_score_depends_on() {
        let completion = Completion::from("a\nb");
        let rollout = Rollout { prompt: "p".to_owned(), ..Rollout::default() };
        let with_steps = completion.clone().with_steps(vec!["a".to_owned(), "b".to_owned()]);
        let other = Rollout { prompt: "q".to_owned(), ..Rollout::default() };
        let keys = [
            key(&rollout, &completion),
            key(&rollout, &with_steps),
            key(&other, &completion),
            key(&rollout, &Completion::from("a\nc")),
        ];
        for (idx, key) in keys.iter().enumerate() {
            assert!(!keys[..idx].contains(key));
        }
        let sampled = Completion { token_ids: Some(vec![1]), ..completion.clone() };
        assert_ne!(key(&rollout, &sampled), keys[0]);
        let labelled = Completion { label: Some(true), ..completion };
        assert_eq!(key(&rollout, &labelled), keys[0]);
    }
}
