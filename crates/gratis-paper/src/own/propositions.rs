//! Both propositions of section 3 on the models of a cast, by Monte Carlo: prefixes of responses of the
//! reference, continued by the reference and scored by both models.

use std::rc::Rc;

use gratis::reward_model::Model;
use gratis::theory::{MonteCarloSettings, Prefix, PrefixEstimate, estimate};
use gratis_engine::{FinishReason, Generate as _, SampleRequest};
use serde_json::json;

use super::OwnCast;
use super::expected::EXPECTED_PROMPT;
use super::file::Propositions;
use super::models::Form;
use super::plan::Work;
use crate::cast::{Cast as _, Way};
use crate::error::Result;

impl OwnCast<'_> {
    /// Estimates at the prefixes of a response to each of the first test problems, for the row of CE.
    pub(super) fn estimates_at_prefixes(&mut self, seed: u64) -> Result<Vec<PrefixEstimate>> {
        let Some(model) = self.model_of_way(Way::Ce, None) else { return Ok(Vec::new()) };
        let file = Rc::clone(&self.file);
        let Propositions { n_problems, n_prefixes, n_continuations } = file.propositions;
        self.begin_row("ce", seed);
        let max_tokens = file.sampling.max_new_tokens;
        if self.plan_before_sampling(seed, &model)?.is_some() {
            self.plan_prefixes()?;
            return Ok(Vec::new());
        }
        let Form::LogRatio { policy, beta, .. } = self.ready(seed, &model)?.form else {
            return Ok(Vec::new());
        };
        let reference = self.reference()?;
        let problems = self.test_problems(seed)?;
        let prompts = &problems[..n_problems.min(problems.len())];
        let key = json!({ "policy": policy.key, "reference": reference.key, "beta": beta,
                          "prompts": super::data::digest_of(prompts), "prompt": file.prompt,
                          "propositions": file.propositions, "max_tokens": max_tokens,
                          "seed": seed });
        if let Some(found) = self.find_value("propositions", &key)? {
            return Ok(found);
        }
        if self.plan.is_some() {
            self.plan_prefixes()?;
            return Ok(Vec::new());
        }
        let policy = self.load(&policy.place)?;
        let reference = self.load(&reference.place)?;
        let encoder = file.encoder(&reference)?;
        let settings = MonteCarloSettings {
            beta,
            n_continuations,
            max_tokens,
            end_token: encoder.end_token()?,
            seed,
            batch_tokens: file.batch_tokens,
        };
        let mut requests = Vec::new();
        for (key, rollout) in (0..).zip(prompts) {
            let prompt = encoder.prompt_of(rollout)?;
            requests.push(SampleRequest { prompt, key, first_sample: 0, n_samples: 1 });
        }
        let prefixes = prefixes_of(&reference, &requests, &settings, n_prefixes)?;
        self.observer.stage("continuations", Some(prefixes.len() as u64));
        let estimates =
            estimate(policy.score(), reference.sampler(), &prefixes, &settings, self.observer)?;
        self.store.make_value("propositions", &key, &estimates)?;
        Ok(estimates)
    }

    /// Adds the continuations, and their scores, to the plan.
    fn plan_prefixes(&mut self) -> Result<()> {
        let Propositions { n_problems, n_prefixes, n_continuations } = self.file.propositions;
        let start = self.start()?;
        let half = self.file.sampling.max_new_tokens / 2;
        let size = (EXPECTED_PROMPT + half, half);
        let work = Work::expected(&start, n_problems * n_prefixes, n_continuations, size);
        if let Some(plan) = &mut self.plan {
            plan.sample("the reference", "continuations of section 3", work);
            plan.score("ce", "section 3", "continuations", work);
            plan.score("reference", "section 3", "continuations", work);
        }
        Ok(())
    }
}

/// The prefixes of a response of the reference to each request; of one that was cut short too, whose end
/// is then that of its sequence.
fn prefixes_of(
    reference: &Model,
    requests: &[SampleRequest],
    settings: &MonteCarloSettings,
    n_prefixes: usize,
) -> Result<Vec<Prefix>> {
    let samples = reference.sampler().sample_all(requests, &settings.sampling())?;
    let mut prefixes = Vec::new();
    for (request, samples) in requests.iter().zip(&samples) {
        for sample in samples {
            let n_without_end =
                sample.tokens.len() - usize::from(sample.finish == FinishReason::Stop);
            let response = &sample.tokens[..n_without_end];
            prefixes.extend(Prefix::of(&request.prompt, response, n_prefixes));
        }
    }
    Ok(prefixes)
}
