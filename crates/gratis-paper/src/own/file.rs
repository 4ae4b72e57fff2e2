//! The file of a cast: which models, problems and rows a reproduction runs on.

use std::fs;
use std::path::{Path, PathBuf};

use gratis::data::{ShapeSettings, StepSplit};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::observer::Silent;
use gratis::reward_model::{Model, PromptSettings};
use gratis::run::TrainSettings;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use crate::cast::Propositions;
use crate::error::{Error, Result};

/// A commented file to start from.
pub const TEMPLATE: &str = include_str!("template.toml");

/// A cast as its file describes it. Paths are relative to the folder of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastFile {
    /// Name of the cast, in the report.
    pub(crate) name: String,
    /// A remark for the report, such as that it has never been run.
    #[serde(default)]
    pub(crate) status: Option<String>,
    /// Model that reward models start from.
    pub(crate) start: PathBuf,
    /// Reference model; by default the start.
    #[serde(default)]
    pub(crate) reference: Option<PathBuf>,
    /// Engine that scores a model that was trained on a server, with `{run}` for the name of the run and
    /// `{folder}` for its folder; by default the trained model is scored in this process.
    #[serde(default)]
    pub(crate) served: Option<String>,
    /// Seeds of training and sampling.
    #[serde(default = "one_seed")]
    pub(crate) seeds: Vec<u64>,
    /// Numbers of candidates that one is selected from.
    pub(crate) ns: Vec<usize>,
    /// How solutions without steps are split.
    #[serde(default)]
    pub(crate) step_split: StepSplit,
    /// What to do with responses longer than the context.
    #[serde(default = "truncate")]
    pub(crate) on_overlong: OnOverlong,
    /// Tokens per batch when scoring.
    #[serde(default = "batch_tokens")]
    pub(crate) batch_tokens: usize,
    /// The prompt, as in `gratis train`.
    #[serde(default)]
    pub(crate) prompt: PromptSettings,
    /// How answers are graded, where files bring no labels.
    #[serde(default)]
    pub(crate) grading: gratis_grading::Options,
    /// What reward models learn from.
    pub(crate) train: TrainSource,
    /// Problems on which everything is chosen.
    pub(crate) validation: Part,
    /// Problems that the tables report on.
    pub(crate) test: Part,
    /// How generators that are engines sample.
    #[serde(default)]
    pub(crate) sampling: Sampling,
    /// Math-Shepherd's labels, for rows that learn from step labels.
    #[serde(default)]
    pub(crate) annotation: Annotation,
    /// The Monte-Carlo check of section 3.
    #[serde(default)]
    pub(crate) propositions: Propositions,
    /// Where candidates come from.
    pub(crate) generators: Vec<Generator>,
    /// Settings of every training, as in the `config.toml` of `gratis train`.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "parsed so that a wrong setting is an error; `source` has its table"
    )]
    training: TrainSettings,
    /// The rows of table 1.
    pub(crate) rows: Vec<RowSettings>,
    /// ProcessBench.
    #[serde(default)]
    pub(crate) process_bench: Option<StepBench>,
    /// The file, and its `training` and that of each row as they are written.
    #[serde(skip)]
    source: Written,
}

/// What is kept of the file as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
struct Written {
    path: PathBuf,
    training: Table,
    rows: Vec<Table>,
}

/// Rollouts, or problems and the generator that answers them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrainSource {
    /// Rollout files.
    pub(crate) rollouts: Vec<PathBuf>,
    /// Problem files, if a generator answers them.
    pub(crate) problems: Vec<PathBuf>,
    /// The generator that answers them.
    pub(crate) generator: Option<String>,
    /// How records become rollouts, as in `gratis train`.
    pub(crate) shape: ShapeSettings,
    /// Share of the problems, by the hash of the prompt: `[0.0, 0.5]` is the first half.
    pub(crate) part: Option<[f64; 2]>,
    /// Most problems.
    pub(crate) n_problems: Option<usize>,
    /// Most responses per problem.
    pub(crate) n_responses: Option<usize>,
    /// Order of a problem's responses.
    pub(crate) order: Order,
}

impl TrainSource {
    /// The problems that a generator answers.
    pub(super) fn part(&self) -> Part {
        Part {
            problems: self.problems.clone(),
            shape: self.shape.clone(),
            part: self.part,
            n_problems: self.n_problems,
            n_candidates: self.n_responses,
        }
    }
}

/// Problems for validation or for the test.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the names in the file")]
pub(crate) struct Part {
    /// Problem files, for generators that are engines.
    pub(crate) problems: Vec<PathBuf>,
    /// How records become problems.
    pub(crate) shape: ShapeSettings,
    /// Share of the problems, by the hash of the prompt.
    pub(crate) part: Option<[f64; 2]>,
    /// Most problems.
    pub(crate) n_problems: Option<usize>,
    /// Candidates per problem; by default the largest of `ns`.
    pub(crate) n_candidates: Option<usize>,
}

/// Order of the responses of a problem; of fewer than all the first are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// As the file has them.
    #[default]
    AsGiven,
    /// By the hash of their text.
    Shuffled,
}

/// Where the candidates of one generator come from: an engine, or files.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Generator {
    /// Its name in the tables.
    pub(crate) name: String,
    /// The model that samples them: a folder, a GGUF file, a name on a hub, or an engine.
    pub(crate) engine: Option<PathBuf>,
    /// Files with candidates that exist already.
    pub(crate) candidates: Vec<PathBuf>,
    /// How records become rollouts.
    pub(crate) shape: ShapeSettings,
    /// Order of a problem's candidates.
    pub(crate) order: Order,
    /// Column that names the writer of each candidate, where one file has those of several.
    pub(crate) writers: Option<String>,
    /// Whether the true first wrong steps of the candidates are known.
    pub(crate) truth: StepTruth,
}

/// Whether the first wrong steps of candidates are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepTruth {
    /// They are not.
    #[default]
    Unknown,
    /// The step labels of the files are true: a step below one half is wrong.
    StepLabels,
}

/// How generators sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sampling {
    /// Sampling temperature of candidates.
    pub(crate) temperature: f32,
    /// Sampling temperature of training responses.
    pub(crate) train_temperature: f32,
    /// Nucleus (top-p) sampling threshold.
    pub(crate) top_p: f32,
    /// Longest response in tokens.
    pub(crate) max_new_tokens: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.7, train_temperature: 1.0, top_p: 1.0, max_new_tokens: 512 }
    }
}

/// Math-Shepherd's labels of the training responses that a generator sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Annotation {
    /// Continuations of each step prefix.
    pub(crate) n_continuations: usize,
}

impl Default for Annotation {
    fn default() -> Self {
        Self { n_continuations: 8 }
    }
}

/// A row of table 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowSettings {
    /// Its name.
    pub(crate) name: String,
    /// How it gives its rewards.
    #[serde(default)]
    pub(crate) kind: RowKind,
    /// What it changes in `training`.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "parsed so that a wrong setting is an error; `source` has its table"
    )]
    training: TrainSettings,
}

/// How a row gives its rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RowKind {
    /// Log-ratio to the reference, trained (the paper's).
    #[default]
    Implicit,
    /// Outcome reward model with a scalar head, trained.
    Orm,
    /// Process reward model with a scalar head, trained on step labels.
    PrmHead,
    /// Process reward model by label tokens, trained on step labels.
    PrmToken,
    /// Log-probability of the reference, untrained.
    Likelihood,
    /// Self-certainty of the reference, untrained.
    SelfCertainty,
}

/// ProcessBench.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepBench {
    /// Folder with its files.
    pub(crate) folder: PathBuf,
    /// Most solutions of a subset; the first by the hash of problem and solution.
    #[serde(default)]
    pub(crate) n_solutions: Option<usize>,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn truncate() -> OnOverlong {
    OnOverlong::Truncate
}

fn batch_tokens() -> usize {
    4096
}

impl CastFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::CastFile`] with the line for an unknown field or a wrong value.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text, path)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::CastFile { path: path.to_owned(), reason };
        let of_toml = |error: toml::de::Error| wrong(error.to_string().trim_end().to_owned());
        let mut file: Self = toml::from_str(text).map_err(of_toml)?;
        let table: Table = toml::from_str(text).map_err(of_toml)?;
        let own = |value: Option<&Value>| value.and_then(Value::as_table).cloned();
        let rows = table.get("rows").and_then(Value::as_array);
        file.source = Written {
            path: path.to_owned(),
            training: own(table.get("training")).unwrap_or_default(),
            rows: rows
                .into_iter()
                .flatten()
                .map(|row| own(row.get("training")).unwrap_or_default())
                .collect(),
        };
        file.check().map_err(wrong)?;
        Ok(file)
    }

    /// How `model` reads the prompts and responses of the cast.
    ///
    /// # Errors
    /// Those of the prompt's template.
    pub(super) fn encoder<'m>(&self, model: &'m Model) -> Result<Encoder<'m>> {
        let template = self.prompt.template(model, &mut Silent)?;
        let encoder = model.encoder(&template, self.on_overlong)?;
        Ok(encoder.with_conversations(self.prompt.conversations(model)?))
    }

    /// The file itself.
    pub(super) fn path(&self) -> &Path {
        &self.source.path
    }

    /// A path of the file: relative to its folder. Addresses of engines, and names on a hub that are no
    /// file here, stay as they are.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        let text = path.to_string_lossy();
        let folder = self.source.path.parent().unwrap_or(Path::new(""));
        let beside = folder.join(path);
        let is_local = beside.exists() || text.starts_with('.') || !text.contains('/');
        if text.contains("://") || path.is_absolute() || !is_local {
            path.to_owned()
        } else {
            beside
        }
    }

    /// A data file: relative to the folder of the file.
    pub(super) fn resolve_file(&self, path: &Path) -> PathBuf {
        self.source.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The settings of a row's training: `training`, with what the row changes.
    ///
    /// # Errors
    /// [`Error::CastFile`] for a combination that is not valid.
    pub(super) fn training_of(&self, row_idx: usize) -> Result<TrainSettings> {
        let mut table = self.source.training.clone();
        overlay(&mut table, &self.source.rows[row_idx]);
        Value::Table(table).try_into().map_err(|error: toml::de::Error| Error::CastFile {
            path: self.source.path.clone(),
            reason: format!("row `{}`: {}", self.rows[row_idx].name, error.message()),
        })
    }

    /// What serde cannot check.
    fn check(&self) -> Result<(), String> {
        if self.ns.is_empty() || self.ns.contains(&0) {
            return Err("`ns` needs at least one number above 0".to_owned());
        }
        if self.seeds.is_empty() {
            return Err("`seeds` needs at least one seed".to_owned());
        }
        if self.rows.is_empty() {
            return Err("at least one `[[rows]]` is needed".to_owned());
        }
        let parts = [
            ("train", self.train.part),
            ("validation", self.validation.part),
            ("test", self.test.part),
        ];
        for (name, part) in parts {
            if let Some([from, to]) = part
                && !(0.0 <= from && from < to && to <= 1.0)
            {
                return Err(format!("`{name}.part` should be `[FROM, TO]` within 0 and 1"));
            }
        }
        for (idx, row) in self.rows.iter().enumerate() {
            if self.rows[..idx].iter().any(|other| other.name == row.name) {
                return Err(format!("two rows are called `{}`", row.name));
            }
            own_fields(&self.source.rows[idx])
                .map_err(|what| format!("row `{}`: {what}", row.name))?;
        }
        own_fields(&self.source.training)?;
        if self.generators.is_empty() {
            return Err("at least one `[[generators]]` is needed".to_owned());
        }
        for generator in &self.generators {
            let name = &generator.name;
            if generator.engine.is_some() && generator.truth == StepTruth::StepLabels {
                return Err(format!(
                    "generator `{name}` is an engine, whose candidates have no step labels: `truth` is \
                     for `candidates`"
                ));
            }
            match (&generator.engine, &generator.candidates[..]) {
                (Some(_), []) if self.test.problems.is_empty() => {
                    return Err(format!("generator `{name}` is an engine: set `test.problems`"));
                }
                (Some(_), []) if self.validation.problems.is_empty() => {
                    return Err(format!(
                        "generator `{name}` is an engine: set `validation.problems`"
                    ));
                }
                (Some(_), []) | (None, [_, ..]) => {}
                _ => {
                    return Err(format!(
                        "generator `{name}` needs either `engine` or `candidates`"
                    ));
                }
            }
        }
        let train = &self.train;
        match (&train.rollouts[..], &train.problems[..], &train.generator) {
            ([_, ..], [], None) => Ok(()),
            ([], [_, ..], Some(name)) => {
                let found = self.generators.iter().find(|of| of.name == *name);
                match found.map(|of| of.engine.is_some()) {
                    Some(true) => Ok(()),
                    Some(false) => Err(format!("`train.generator`: `{name}` is no engine")),
                    None => Err(format!("`train.generator`: there is no generator `{name}`")),
                }
            }
            _ => Err("`train` needs `rollouts`, or `problems` and `generator`".to_owned()),
        }
    }
}

/// What the cast itself decides may not be set for a training.
fn own_fields(training: &Table) -> Result<(), String> {
    const INSTEAD: [(&str, &str); 9] = [
        ("model", "`start`"),
        ("reference", "`reference` of the cast"),
        ("data", "`train`"),
        ("shape", "`train.shape`"),
        ("validation", "`validation` of the cast"),
        ("prompt", "`prompt` of the cast"),
        ("step_split", "`step_split` of the cast"),
        ("on_overlong", "`on_overlong` of the cast"),
        ("kind", "`kind` of the row"),
    ];
    match INSTEAD.iter().find(|(field, _)| training.contains_key(*field)) {
        Some((field, instead)) => Err(format!("`training.{field}` is set by {instead}")),
        None => Ok(()),
    }
}

/// Copies what `from` sets into `into`, table by table.
fn overlay(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            // An objective is one value: its settings go with its name.
            (Some(Value::Table(into)), Value::Table(from)) if key != "objective" => {
                overlay(into, from);
            }
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
name = "small"
start = "models/start"
ns = [4]
[train]
rollouts = ["rollouts.jsonl"]
part = [0.0, 0.5]
[validation]
part = [0.5, 0.6]
[test]
part = [0.6, 1.0]
[[generators]]
name = "published"
candidates = ["rollouts.jsonl"]
[training.optimization]
batch_size = 16
learning_rate = 1e-5
[[rows]]
name = "ce"
training.objective = { name = "ce", beta = 0.1 }
[[rows]]
name = "ce, LoRA"
training.objective = { name = "ce", beta = 0.1 }
training.lora.lora_rank = 8
training.optimization.learning_rate = 1e-4
"#;

    fn error_of(text: &str) -> String {
        CastFile::parse(text, Path::new("casts/c.toml")).expect_err("wrong").to_string()
    }

    #[test]
    fn rows_change_what_they_name_of_the_training() {
        let file = CastFile::parse(SMALL, Path::new("casts/c.toml")).expect("valid");
        let of = |idx| file.training_of(idx).expect("valid");
        assert_eq!(of(0).optimization.learning_rate, Some(1e-5));
        assert_eq!(of(1).optimization.learning_rate, Some(1e-4));
        assert_eq!(of(1).optimization.batch_size, 16);
        assert_eq!((of(0).lora.lora_rank, of(1).lora.lora_rank), (None, Some(8)));
        assert_eq!(of(1).objective.beta(), 0.1);
    }

    #[test]
    fn an_unknown_field_is_named_with_file_and_line() {
        let error = error_of(&SMALL.replace("batch_size", "batch_syze"));
        assert!(error.contains("casts/c.toml") && error.contains("batch_syze"), "{error}");
        assert!(error.contains("line 16"), "{error}");
        let error = error_of(&SMALL.replace("ns = [4]", "ns = [4]\nstrat = 1"));
        assert!(error.contains("line 5") && error.contains("strat"), "{error}");
        // Of a row's training too.
        let error = error_of(&SMALL.replace("lora_rank", "lora_runk"));
        assert!(error.contains("lora_runk") && error.contains("line 24"), "{error}");
    }

    #[test]
    fn contradictions_are_errors_before_any_work() {
        let said = |from: &str, to: &str| error_of(&SMALL.replace(from, to));
        assert!(said("ns = [4]", "ns = []").contains("`ns` needs"));
        assert!(said("[0.6, 1.0]", "[0.6, 0.5]").contains("`test.part`"));
        assert!(said("\"ce, LoRA\"", "\"ce\"").contains("two rows"));
        assert!(said("candidates", "engine = \"m\"\ncandidates").contains("either `engine`"));
        let engine = said("candidates = [\"rollouts.jsonl\"]", "engine = \"m\"");
        assert!(engine.contains("set `test.problems`"), "{engine}");
        let model =
            said("[training.optimization]", "[training]\nmodel = \"m\"\n[training.optimization]");
        assert!(model.contains("`training.model` is set by `start`"), "{model}");
    }

    #[test]
    fn paths_are_relative_to_the_file_and_addresses_are_kept() {
        let file = CastFile::parse(SMALL, Path::new("casts/c.toml")).expect("valid");
        let resolved = |path: &str| file.resolve(Path::new(path)).display().to_string();
        assert_eq!(resolved("./models/start"), "casts/./models/start");
        assert_eq!(resolved("rollouts.jsonl"), "casts/rollouts.jsonl");
        assert_eq!(resolved("vllm://host:1/m"), "vllm://host:1/m");
        assert_eq!(resolved("org/name"), "org/name");
        assert_eq!(resolved("/models/start"), "/models/start");
    }

    #[test]
    fn the_template_and_the_files_of_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../casts");
        CastFile::parse(TEMPLATE, Path::new("cast.toml")).expect("the template");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let file = CastFile::read(&path).unwrap_or_else(|error| panic!("{error}"));
                for idx in 0..file.rows.len() {
                    file.training_of(idx).expect("settings of a training");
                }
                names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
                if path.ends_with("paper.toml") {
                    let status = file.status.expect("a status");
                    assert!(status.contains("not run"), "{status}");
                }
            }
        }
        names.sort();
        assert_eq!(names, ["paper.toml", "smollm2.toml"]);
    }
}
