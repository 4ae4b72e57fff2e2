//! What a reward model costs: figure 1 (accuracy against operations) and figure 3 (operations of
//! collecting labels and training).

use serde_json::json;

use super::baselines::math_shepherd;
use super::lab::{InferenceReference, Lab, Recipe, model_record};
use super::measured::{By, Measured, conditions, interval};
use super::outcome::{Claim, Outcome, PlainTable};
use super::{tuning, workshop};
use crate::report::svg::Unit;
use crate::report::{LinePlot, Point, Series, XScale};
use crate::world::Strength;
use gratis::cost::paper::Assumptions;
use gratis::cost::{Architecture, Pass, Work};
use gratis::error::Result;
use gratis::evaluation::Interval;
use gratis::objective::{Ce, Dpo, Objective};

/// Ways to a reward model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ce,
    Dpo,
    MathShepherd,
}

impl Way {
    const ALL: [Self; 3] = [Self::Ce, Self::Dpo, Self::MathShepherd];

    fn name(self) -> String {
        match self {
            Self::Ce => "implicit PRM, CE".to_owned(),
            Self::Dpo => "implicit PRM, DPO".to_owned(),
            Self::MathShepherd => math_shepherd().name,
        }
    }

    /// The objective of an implicit model.
    fn objective(self) -> Option<Objective> {
        match self {
            Self::Ce => Some(Objective::Ce(Ce::default())),
            Self::Dpo => Some(Objective::Dpo(Dpo::default())),
            Self::MathShepherd => None,
        }
    }
}

/// Operations of collecting step labels and of training, without the rollouts that all share.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Operations {
    /// Every sequence on its own, as the paper counts.
    as_counted: f64,
    /// With shared prefixes and copies computed once.
    as_run: f64,
}

/// Operations of a way with the first `n_responses` responses of each training problem, all
/// problems.
fn operations(lab: &mut Lab<'_>, seed: u64, way: Way, n_responses: usize) -> Result<Operations> {
    let samples = lab.train_samples(seed)?;
    let rollouts = lab.rollouts(&samples)?;
    let engine = {
        let medium = lab.generator(seed, Strength::Medium)?;
        lab.load(&medium)?
    };
    let architecture = Architecture::from(engine.config());
    let encoder = workshop::encoder(lab.tokenizer(), &engine)?;
    let mut responses = Work::default();
    let mut of_pairs = Work::default();
    for rollout in rollouts.iter() {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        let labels = rollout.labels("the count of pairs")?;
        let n = n_responses.min(labels.len());
        let n_correct = labels[..n].iter().filter(|&&correct| correct).count();
        for (idx, &correct) in labels[..n].iter().enumerate() {
            let n_tokens =
                encoder.completion(rollout, idx, n_prompt)?.map_or(0, |c| c.tokens.len());
            let one = Work::of_response(n_prompt, n_tokens);
            responses += one;
            // The paper trains on the full cross product of pairs.
            of_pairs += one.times(if correct { n - n_correct } else { n_correct } as u64);
        }
    }
    let flops = |work: &Work, pass| architecture.flops(work, pass).total();
    let trained = |work: &Work| flops(work, Pass::ForwardBackward);
    let reference = |work: &Work| flops(work, Pass::Forward);
    Ok(match way {
        // The reference sees each response once and is then cached.
        Way::Ce => {
            let as_counted = trained(&responses) + reference(&responses);
            Operations { as_counted, as_run: as_counted * packing(lab, seed, n_responses)? }
        }
        Way::Dpo => Operations {
            as_counted: trained(&of_pairs) + reference(&of_pairs),
            as_run: (trained(&of_pairs) + reference(&responses)) * packing(lab, seed, n_responses)?,
        },
        Way::MathShepherd => {
            let head = architecture.with_scalar_head();
            let trained = head.flops(&responses, Pass::ForwardBackward).total();
            let share = n_responses as f64 / lab.settings.train.n_samples as f64;
            let counts = lab.label_record(seed)?.counts;
            // Continuations are counted for all responses; fewer have fewer in proportion.
            Operations {
                as_counted: trained + share * flops(&counts.as_counted, Pass::Forward),
                as_run: trained * packing(lab, seed, n_responses)?
                    + share * flops(&counts.as_run, Pass::Forward),
            }
        }
    })
}

/// Tokens that went through the model over tokens of all sequences: what sharing prompts and copies
/// within a batch leaves, measured on the CE model.
fn packing(lab: &mut Lab<'_>, seed: u64, n_responses: usize) -> Result<f64> {
    let n_all = lab.settings.train.n_samples;
    let recipe = Recipe {
        n_responses: (n_responses < n_all).then_some(n_responses),
        ..tuning::chosen(Objective::Ce(Ce::default())).recipe()
    };
    let model = lab.reward_model(seed, &recipe)?;
    let n_run = model_record(&model)?.training.n_tokens;
    let samples = lab.train_samples(seed)?;
    let rollouts = lab.rollouts(&samples)?;
    let engine = lab.load(&model)?;
    let encoder = workshop::encoder(lab.tokenizer(), &engine)?;
    let mut n_counted = 0;
    for rollout in rollouts.iter() {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        for idx in 0..n_responses.min(rollout.completions.len()) {
            let n_tokens =
                encoder.completion(rollout, idx, n_prompt)?.map_or(0, |c| c.tokens.len());
            n_counted += n_prompt + n_tokens;
        }
    }
    Ok(n_run as f64 / n_counted.max(1) as f64)
}

/// Processor seconds of a way with all responses of a seed: labels and training, where somebody
/// measured them.
fn processor_seconds(lab: &mut Lab<'_>, seed: u64, way: Way) -> Result<Option<f64>> {
    if let Some(objective) = way.objective() {
        let model = lab.reward_model(seed, &tuning::chosen(objective).recipe())?;
        return Ok(model_record(&model)?.cpu_seconds);
    }
    let baseline = math_shepherd();
    let model = lab.baseline_model(seed, &baseline, tuning::chosen_baseline(&baseline))?;
    let (labels, training) =
        (lab.label_record(seed)?.cpu_seconds, model_record(&model)?.cpu_seconds);
    Ok(labels.zip(training).map(|(labels, training)| labels + training))
}

/// Figure 3: operations by the number of responses an instruction.
///
/// # Errors
/// Those of the laboratory.
pub fn figure3(lab: &mut Lab<'_>) -> Result<Outcome> {
    const RESPONSES: [usize; 3] = [2, 4, 8];
    let seeds = lab.settings.seeds.clone();
    let mut series = Vec::new();
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for n_responses in RESPONSES {
        let mut ours = Vec::new();
        for way in Way::ALL {
            let mut by_seed = Vec::new();
            for &seed in &seeds {
                by_seed.push(operations(lab, seed, way, n_responses)?);
            }
            ours.push(by_seed);
        }
        let over = |way: usize, of: fn(&Operations) -> f64| -> Vec<f64> {
            ours[2].iter().zip(&ours[way]).map(|(a, b)| of(a) / of(b)).collect()
        };
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        rows.push(vec![
            format!("{n_responses} responses"),
            format!("{:.2}", mean(over(0, |o| o.as_counted))),
            format!("{:.2}", mean(over(1, |o| o.as_counted))),
            format!("{:.2}", mean(over(0, |o| o.as_run))),
            format!("{:.2}", mean(over(1, |o| o.as_run))),
        ]);
        ratios.push(over(0, |o| o.as_counted));
        for (style, (way, by_seed)) in Way::ALL.into_iter().zip(&ours).enumerate() {
            let y = by_seed.iter().map(|o| o.as_counted).sum::<f64>() / by_seed.len() as f64;
            let point = Point { x: n_responses as f64, y: y.log10(), interval: None };
            match series.iter_mut().find(|s: &&mut Series| s.label == way.name()) {
                Some(found) => found.points.push(point),
                None => {
                    series.push(Series { label: way.name(), points: vec![point], style });
                }
            }
        }
    }
    let mut measured = Vec::new();
    for way in Way::ALL {
        let mut row = vec![way.name()];
        for &seed in &seeds {
            let seconds = processor_seconds(lab, seed, way)?;
            row.push(seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}")));
        }
        measured.push(row);
    }
    let paper_scale = Assumptions::default();
    let calculated = paper_scale.figure_3().into_iter().map(|costs| {
        vec![
            format!("{} responses", costs.n_responses),
            format!("{:.1}", costs.over_ce()),
            format!("{:.1}", costs.over_dpo()),
        ]
    });
    let varied = paper_scale.variations().into_iter().map(|(what, varied)| {
        let costs = varied.figure_3();
        let over_dpo = costs.iter().map(|costs| format!("{:.1}", costs.over_dpo()));
        [what, format!("{:.1}", costs[0].over_ce())].into_iter().chain(over_dpo).collect()
    });
    let by_seed: Vec<Vec<f64>> =
        ratios.last().map(|last| last.iter().map(|&r| vec![r]).collect()).unwrap_or_default();
    let ratio = interval(&lab.settings.bootstrap, &by_seed);
    let at_paper_scale = paper_scale.costs(8).over_ce();
    Ok(Outcome {
        title: "Figure 3: what collecting labels and training cost".to_owned(),
        question: "How many operations does a reward model take, from graded rollouts to the \
                   trained model? Math-Shepherd continues every step prefix; the implicit models \
                   need nothing but the outcome labels."
            .to_owned(),
        tables: vec![
            PlainTable {
                caption: "At the paper's scale, from stated assumptions: Math-Shepherd over the \
                          implicit model (paper: 38.6 to 38.8 over CE; 146.5, 49.9, 21.3 over DPO)"
                    .to_owned(),
                header: ["", "over CE", "over DPO"].map(str::to_owned).to_vec(),
                rows: calculated.collect(),
            },
            PlainTable {
                caption: "How the ratios at the paper's scale depend on each assumption".to_owned(),
                header: ["changed", "over CE", "over DPO, 2 responses", "4 responses", "8 responses"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: varied.collect(),
            },
            PlainTable {
                caption: "In the tiny world: Math-Shepherd over the implicit model, every sequence \
                          on its own as the paper counts, and as it was run (prefixes shared, copies \
                          once, reference cached)"
                    .to_owned(),
                header: ["", "over CE", "over DPO", "over CE, as run", "over DPO, as run"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
            },
            PlainTable {
                caption: "Measured: processor seconds of labels and training with all responses, the \
                          reference's pass included"
                    .to_owned(),
                header: std::iter::once(String::new())
                    .chain(seeds.iter().map(|seed| format!("seed {seed}")))
                    .collect(),
                rows: measured,
            },
        ],
        plots: vec![LinePlot {
            title: "Operations, as the paper counts".to_owned(),
            x_label: "responses an instruction".to_owned(),
            y_label: "log10 of operations".to_owned(),
            x_scale: XScale::Log2,
            y_unit: Unit::Number,
            series,
            ..LinePlot::default()
        }],
        claims: vec![
            Claim::above(
                "Math-Shepherd costs many times what CE costs, at the paper's scale",
                "section 4.2, figure 3",
                "ratio of operations, paper 38.8 (calculated from assumptions)",
                Interval { mean: at_paper_scale, low: at_paper_scale, high: at_paper_scale },
                38.0,
            )
            .in_numbers(),
            Claim::above(
                "Math-Shepherd costs many times what CE costs, in the tiny world",
                "section 4.2, figure 3",
                "ratio of operations with 8 responses, paper 38.8",
                ratio,
                1.0,
            )
            .in_numbers(),
        ],
        conditions: {
            let mut all = conditions(lab);
            all.push(format!(
                "Operations are two for each multiplication and addition; the rollouts and their \
                 grades, which all share, are not counted, as the paper's ratios imply. As run: the \
                 share of tokens left by packing is measured on the CE model and applied to all \
                 trainings. Assumptions at the paper's scale: {}.",
                json!(paper_scale)
            ));
            all
        },
        ..Outcome::default()
    })
}

/// A share in percent with the ends of its interval.
fn with_ends(share: &Interval) -> String {
    let Interval { mean, low, high } = share;
    format!("{:.1} ({:.1} to {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}

/// Figure 1: best-of-N with the most candidates against operations.
///
/// # Errors
/// Those of the laboratory.
pub fn figure1(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let n_all = lab.settings.train.n_samples;
    let n_ns = lab.settings.ns.len();
    let largest: Vec<usize> = (1..=Strength::ALL.len()).map(|g| g * n_ns - 1).collect();
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for (style, way) in Way::ALL.into_iter().enumerate() {
        let mut points = Vec::new();
        let amounts = if way == Way::MathShepherd { vec![n_all] } else { vec![2, 4, n_all] };
        for n_responses in amounts {
            let measured = if let Some(objective) = way.objective() {
                let recipe = Recipe {
                    n_responses: (n_responses < n_all).then_some(n_responses),
                    ..tuning::chosen(objective).recipe()
                };
                let judge =
                    |lab: &mut Lab<'_>, seed| lab.judge(seed, &recipe, InferenceReference::Start);
                Measured::judge(lab, judge)?
            } else {
                let baseline = math_shepherd();
                let configuration = tuning::chosen_baseline(&baseline);
                Measured::judge(lab, |lab, seed| {
                    lab.judge_baseline(seed, &baseline, configuration)
                })?
            };
            let mut total = 0.0;
            let seeds = lab.settings.seeds.clone();
            for &seed in &seeds {
                total += operations(lab, seed, way, n_responses)?.as_counted;
            }
            let operations = total / seeds.len().max(1) as f64;
            let accuracy = measured.mean_of_cells(By::BestOfN, &largest, &bootstrap);
            points.push(Point {
                x: operations.log10(),
                y: accuracy.mean,
                interval: Some((accuracy.low, accuracy.high)),
            });
            rows.push(vec![
                format!("{}, {n_responses} responses", way.name()),
                format!("{operations:.2e}"),
                with_ends(&accuracy),
                measured.first_error(&bootstrap).as_ref().map_or(String::new(), with_ends),
            ]);
        }
        series.push(Series { label: way.name(), points, style });
    }
    Ok(Outcome {
        title: "Figure 1: accuracy against operations".to_owned(),
        question:
            "What does a reward model's accuracy cost in operations of collecting labels and \
                   training?"
                .to_owned(),
        tables: vec![PlainTable {
            caption: "Best of the largest N, mean over generators".to_owned(),
            header: [
                "",
                "operations, as the paper counts",
                "accuracy, %",
                "first-error F1, % (all candidates)",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }],
        plots: vec![LinePlot {
            title: "Best of the largest N".to_owned(),
            x_label: "log10 of operations".to_owned(),
            y_label: "accuracy, %".to_owned(),
            y_unit: Unit::Percent,
            series,
            ..LinePlot::default()
        }],
        conditions: conditions(lab),
        ..Outcome::default()
    })
}
