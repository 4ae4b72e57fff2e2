//! Beyond the paper: when a head learns from true step labels.
//!
//! Classic linear heads fail on the small trunk even with the checker's own labels. This experiment
//! tests whether a deeper or wider trunk helps within a limited run time, and how other forms do
//! with the same labels. The target is a first-error F1 of 90.

use crate::cache::{Cache, record_of_model};
use crate::cast::Cast as _;
use crate::error::Result;
use crate::measured::{Measured, RowHeading, comparison};
use crate::outcome::{Claim, Outcome, PlainTable};
use crate::rows::{Baseline, Configuration, Labels, RewardModel, Start, Trunk, bounds, classic_on};

/// First-error F1 of a head that works.
const TARGET: f64 = 0.9;
/// Learning rates that a larger trunk chooses from, on validation problems.
const LEARNING_RATES: [f64; 2] = [1e-3, 2e-3];

/// Classic heads on bases of their own, and how many passes over the labels they have.
const TRUNKS: [(Trunk, u64); 4] = [
    (Trunk { n_layers: 2, hidden_size: 64 }, 12),
    (Trunk { n_layers: 2, hidden_size: 128 }, 12),
    (Trunk { n_layers: 4, hidden_size: 64 }, 12),
    (Trunk { n_layers: 4, hidden_size: 128 }, 6),
];

/// Trains and evaluates every row: those on the generator on all seeds, those on trunks of their
/// own on the first.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let bootstrap = cache.settings.bootstrap;
    let seeds = cache.settings.seeds.clone();
    let first = &seeds[..seeds.len().min(1)];
    let mut table = comparison(
        cache,
        "Accuracy of the selected candidate in percent; `F1` finds the first wrong step",
    );
    let (mut claims, mut costs) = (Vec::new(), Vec::new());
    let larger = TRUNKS.into_iter().flat_map(|(trunk, n_epochs)| {
        [Labels::True, Labels::TrueUpToError].map(|labels| classic_on(trunk, labels, n_epochs))
    });
    for baseline in bounds().into_iter().chain(larger) {
        let seeds = if baseline.start == Start::Generator { &seeds[..] } else { first };
        let baseline = match baseline.start {
            Start::Generator => baseline,
            Start::Base(_) => with_best_rate(cache, baseline, first)?,
        };
        let name = &baseline.name;
        let measured = Measured::evaluate_on(cache, seeds, name, baseline.clone())?;
        let group = match baseline.start {
            Start::Generator => "From the generator, one pass",
            Start::Base(_) => "From a base of its own, first seed",
        };
        let detail = format!("{}; passes: {}", baseline.detail(), baseline.n_epochs);
        let row = RowHeading { group, name, detail, paper: None };
        table.rows.push(measured.row(row, &bootstrap));
        if let Some(f1) = measured.first_error(&bootstrap) {
            claims.push(Claim::above(
                &format!("`{}` finds nine of ten first errors", baseline.name),
                "this project",
                "first-error F1, mean over generators",
                f1,
                TARGET,
            ));
        }
        for &seed in seeds {
            let model = cache.baseline_model(seed, &baseline)?;
            let record = record_of_model(&model)?;
            costs.push(vec![
                baseline.name.clone(),
                seed.to_string(),
                record.training.n_steps.to_string(),
                record.cpu_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0}")),
            ]);
        }
    }
    Ok(Outcome {
        name: "Heads".to_owned(),
        title: "what it takes to learn from true step labels".to_owned(),
        question: "Does a classic head find first errors once its trunk is deeper or wider? The \
                   labels are the checker's own: an upper bound for any labelling method."
            .to_owned(),
        comparisons: vec![table],
        tables: vec![PlainTable {
            caption: "Cost of training".to_owned(),
            header: ["", "seed", "steps", "processor seconds"].map(str::to_owned).to_vec(),
            rows: costs,
        }],
        claims,
        conditions: {
            let mut all = cache.conditions();
            all.push(format!(
                "Rows from the generator have one configuration each; for those on a base of their \
                 own the learning rate is chosen among {LEARNING_RATES:?} on the validation \
                 problems of the first seed. For all rows, the aggregation and the signal for \
                 first errors (rewards or Q values) are chosen as well."
            ));
            all
        },
        ..Outcome::default()
    })
}

/// The row at the learning rate that is best on the validation problems of these seeds.
fn with_best_rate(cache: &mut Cache<'_>, baseline: Baseline, seeds: &[u64]) -> Result<Baseline> {
    let mut best = (f64::NEG_INFINITY, baseline.clone());
    for &seed in seeds {
        for learning_rate in LEARNING_RATES {
            let configuration = Configuration { learning_rate, ..baseline.configuration };
            let tried = Baseline { configuration, ..baseline.clone() };
            let row = format!("{}, learning rate {learning_rate}", baseline.name);
            cache.begin_row(&row, seed);
            let validation = cache.validate(seed, &RewardModel::from(tried.clone()))?;
            cache.observer.note(&format!("{row}: validation {:.1} %", 100.0 * validation));
            if validation > best.0 {
                best = (validation, tried);
            }
        }
    }
    Ok(best.1)
}
