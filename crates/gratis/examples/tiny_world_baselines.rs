//! The comparison of baselines in the tiny world.
//!
//! `tiny_world_baselines run FOLDER SEED N_THREADS N_ROWS` adds so many rows of a seed to those that
//! are there; configurations are chosen on seed 0, which goes first. `tiny_world_baselines table
//! FOLDER` prints what is there. `tiny_world_baselines depth FOLDER N_LAYERS WIDTH N_EPOCHS
//! LEARNING_RATE` trains a classic head with true labels on a trunk of another shape.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its measurement")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use gratis::annotate::AnnotationCounts;
use gratis::data::{OnInvalid, Rollout, RolloutReader};
use gratis::evaluation::{Bootstrap, Interval};
use gratis::experiment::baselines::{
    ComparisonSettings, Row, Trunk, classic_head_on, label_quality, recipes, run,
};
use gratis::selection::{self, Candidates, Method, Subsets};
use gratis::{Figure, Observer};

const SEEDS: [u64; 3] = [0, 1, 2];

fn main() -> Result<(), gratis::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", folder, seed, n_threads, n_rows] => {
            add(Path::new(folder), seed, n_threads, n_rows.parse().expect("rows"))
        }
        ["depth", folder, n_layers, hidden_size, n_epochs, learning_rate] => {
            let trunk = Trunk {
                n_layers: n_layers.parse().expect("layers"),
                hidden_size: hidden_size.parse().expect("a width"),
                n_epochs: n_epochs.parse().expect("epochs"),
                learning_rate: learning_rate.parse().expect("a learning rate"),
            };
            let settings = ComparisonSettings { n_threads: 1, ..ComparisonSettings::default() };
            let mut clock = Clock { stage: String::new(), started: Instant::now(), cpu: 0.0 };
            let place = of_seed(Path::new(folder), settings.seed);
            let measured = classic_head_on(trunk, &settings, &place, &mut clock)?;
            clock.stage("", None);
            println!("{trunk:?}: {}", measured.summary());
            Ok(())
        }
        ["table", folder] => table(Path::new(folder)),
        _ => panic!("usage: tiny_world_baselines run FOLDER SEED N_THREADS N_ROWS | table FOLDER"),
    }
}

fn of_seed(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("seed-{seed}"))
}

fn rows_of(folder: &Path, seed: u64) -> Vec<Row> {
    let bytes = std::fs::read(of_seed(folder, seed).join("rows.json")).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn add(folder: &Path, seed: &str, n_threads: &str, n_rows: usize) -> Result<(), gratis::Error> {
    let settings = ComparisonSettings {
        seed: seed.parse().expect("a seed"),
        n_threads: n_threads.parse().expect("threads"),
        ..ComparisonSettings::default()
    };
    let known = if settings.seed == SEEDS[0] { Vec::new() } else { rows_of(folder, SEEDS[0]) };
    let chosen =
        |name: &str| known.iter().find(|row| row.name == name).map(|row| row.configuration);
    let place = of_seed(folder, settings.seed);
    let mut clock = Clock { stage: String::new(), started: Instant::now(), cpu: 0.0 };
    let done = rows_of(folder, settings.seed);
    let left =
        recipes().into_iter().filter(|recipe| done.iter().all(|row| row.name != recipe.name));
    let next: Vec<_> = left.take(n_rows).collect();
    run(&settings, &next, &chosen, &place, &mut clock)?;
    clock.stage("", None);
    Ok(())
}

/// Says on stderr what each stage took.
struct Clock {
    stage: String,
    started: Instant,
    cpu: f64,
}

impl Observer for Clock {
    fn stage(&mut self, name: &str, _: Option<u64>) {
        let now = cpu_seconds();
        if !self.stage.is_empty() {
            let wall = self.started.elapsed().as_secs_f64();
            eprintln!("{}: {:.1} s, processor {:.1} s", self.stage, wall, now - self.cpu);
        }
        (self.stage, self.started, self.cpu) = (name.to_owned(), Instant::now(), now);
    }

    fn advance(&mut self, _: u64, _: &[Figure]) {}

    fn note(&mut self, text: &str) {
        eprintln!("  {text}");
    }
}

/// Processor seconds of this process; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn table(folder: &Path) -> Result<(), gratis::Error> {
    let bootstrap = Bootstrap::default();
    let seeds: Vec<(u64, Vec<Row>)> = SEEDS
        .map(|seed| (seed, rows_of(folder, seed)))
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    println!(
        "| row | best of N | lowest step | weighted vote | first error F1 weak/medium/strong | by seed | chosen |"
    );
    println!("|---|---|---|---|---|---|---|");
    for method in [Method::Random, Method::Majority, Method::Oracle] {
        let mut all = Vec::new();
        for (seed, _) in &seeds {
            all.extend(without_scores(&of_seed(folder, *seed), method)?);
        }
        println!("| {method:?} | {} | | | | | |", show(bootstrap.interval(&all)));
    }
    for recipe in recipes() {
        let of_seeds: Vec<&Row> = seeds
            .iter()
            .filter_map(|(_, rows)| rows.iter().find(|row| row.name == recipe.name))
            .collect();
        let Some(first) = of_seeds.first() else { continue };
        let pooled = |values: fn(&Row) -> &Vec<f64>| {
            let all: Vec<f64> = of_seeds.iter().flat_map(|row| values(row)).copied().collect();
            show(bootstrap.interval(&all))
        };
        let f1: Vec<String> = (0..3)
            .map(|generator| {
                let of_seed = of_seeds.iter().map(|row| row.measured.first_error[generator].f1);
                format!("{:.0}", 100.0 * of_seed.sum::<f64>() / of_seeds.len() as f64)
            })
            .collect();
        let by_seed: Vec<String> = of_seeds
            .iter()
            .map(|row| {
                let values = &row.measured.best_of_n;
                format!("{:.1}", 100.0 * values.iter().sum::<f64>() / values.len() as f64)
            })
            .collect();
        let aggregations: Vec<&str> =
            of_seeds.iter().map(|row| row.measured.aggregation.name()).collect();
        let configuration = first.configuration;
        println!(
            "| {} | {} | {} | {} | {} | {} | lr {:e}, beta {}, {} |",
            recipe.name,
            pooled(|row| &row.measured.best_of_n),
            pooled(|row| &row.measured.by_min),
            pooled(|row| &row.measured.weighted_vote),
            f1.join("/"),
            by_seed.join(" "),
            configuration.learning_rate,
            configuration.beta,
            aggregations.join(" "),
        );
    }
    for (seed, _) in &seeds {
        let place = of_seed(folder, *seed);
        let train = read(&place.join("train.jsonl"))?;
        for (name, limit) in [("hard", 1e-9), ("soft at 1/2", 0.5)] {
            let quality = label_quality(&train, limit)?;
            println!(
                "seed {seed}, Monte-Carlo labels, {name}: {:.1} % of {} good steps kept, {:.1} % of {} \
                 first wrong steps caught",
                100.0 * quality.good_kept,
                quality.n_good,
                100.0 * quality.bad_caught,
                quality.n_bad
            );
        }
        let counts = std::fs::read(place.join("continuations.json")).unwrap_or_default();
        if let Ok(counts) = serde_json::from_slice::<AnnotationCounts>(&counts) {
            println!("seed {seed}: {counts:?}");
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Rollout>, gratis::Error> {
    RolloutReader::open(path, OnInvalid::Stop)?.collect()
}

fn show(interval: Interval) -> String {
    let half = (interval.high - interval.low) / 2.0;
    format!("{:.1} ± {:.1}", 100.0 * interval.mean, 100.0 * half)
}

/// Accuracy of each test problem, the mean over generators and N, of a method that needs no score.
fn without_scores(place: &Path, method: Method) -> Result<Vec<f64>, gratis::Error> {
    let ns = ComparisonSettings::default().ns;
    let mut sums: Vec<f64> = Vec::new();
    for strength in ["weak", "medium", "strong"] {
        let rollouts = read(&place.join(format!("test-{strength}.jsonl")))?;
        sums.resize(rollouts.len(), 0.0);
        for (sum, rollout) in sums.iter_mut().zip(&rollouts) {
            let correct = rollout.labels("the table")?;
            let extract = |(idx, text): (usize, &String)| {
                gratis_grading::extract(text).answer.unwrap_or(format!("none {idx}"))
            };
            let answers: Vec<String> =
                rollout.completions.iter().enumerate().map(extract).collect();
            let answers = gratis_grading::classes(&answers);
            let scores = vec![0.0; correct.len()];
            let candidates = Candidates { scores: &scores, answers: &answers, correct };
            for &n in &ns {
                let accuracy = selection::accuracy(method, &candidates, n, Subsets::First)?;
                *sum += accuracy / (3 * ns.len()) as f64;
            }
        }
    }
    Ok(sums)
}
