//! Rollouts: a problem, its gold answer, and candidate solutions with their outcome labels.
//!
//! In a file the completions are columns, which are those of the authors' published data set, so
//! that it loads as it is: `completions` (the texts), `correctness` (the labels) and `steps`, and
//! further `soft_labels` (labels between 0 and 1), `step_labels`, `finish_reasons` (`stop` or `length`), `token_ids` and `masks`
//! (`{"chars": [[start, end]]}` or `{"tokens": ...}`). Each has one entry per completion; an absent
//! entry is null, a column without any entry is left out. Flags of other programs (`loss_mask`) become
//! masks, see [`super::mask`]. In memory each completion holds its own.

use std::path::Path;

use gratis_model::chat_template::Message;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::completion::{self, Completion, PER_COMPLETION};
use super::mask::{self, Mask};
use super::reader::{Source, open_files};
use super::reading::Reading;
use super::record::{Fault, Field, Record, Shape};
use super::step_labels::STEP_LABELS;
use crate::error::{Error, Result};
use crate::exact;

/// One line of a rollout file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rollout {
    /// Names the problem; readers fill in the line number where it is absent.
    pub id: Option<String>,
    /// The problem as the model reads it.
    pub prompt: String,
    /// The gold answer.
    pub reference: String,
    /// Where the problem comes from.
    pub dataset: String,
    /// What was said before the prompt: a system message, earlier turns. Only a chat template renders
    /// it.
    pub context: Vec<Message>,
    /// Candidate solutions; none before sampling.
    pub completions: Vec<Completion>,
    /// Further columns, carried along unchanged. They belong to the problem.
    pub extra: Map<String, Value>,
}

/// Names of the columns with one entry per completion, beside [`PER_COMPLETION`].
pub(crate) const COMPLETIONS: &str = "completions";
pub(crate) const CORRECTNESS: &str = "correctness";
pub(crate) const STEPS: &str = "steps";
pub(crate) const SOFT_LABELS: &str = "soft_labels";
pub(crate) const FINISH_REASONS: &str = "finish_reasons";
pub(crate) const TOKEN_IDS: &str = "token_ids";
pub(crate) const MASKS: &str = "masks";
/// The column of what was said before the prompt: a list of `role` and `content`.
pub(crate) const CONTEXT: &str = "context";

impl Rollout {
    /// Whether this column of a file has one entry per completion.
    pub fn is_per_completion(column: &str) -> bool {
        let labels = [CORRECTNESS, SOFT_LABELS, STEP_LABELS];
        let others = [COMPLETIONS, STEPS, FINISH_REASONS, TOKEN_IDS, MASKS];
        labels.contains(&column) || others.contains(&column) || PER_COMPLETION.contains(&column)
    }

    /// The texts of the completions.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.completions.iter().map(|completion| completion.text.as_str())
    }

    /// Bytes of the prompt and the completions.
    pub fn n_text_bytes(&self) -> usize {
        self.prompt.len() + self.texts().map(str::len).sum::<usize>()
    }

    /// The outcome labels, one per completion.
    ///
    /// # Errors
    /// [`Error::NoCorrectness`] if a completion was not graded, [`Error::SoftLabel`] if one has a soft
    /// label; `needed_by` says for whom.
    pub fn labels(&self, needed_by: &str) -> Result<Vec<bool>> {
        let labels: Option<Vec<bool>> = self.completions.iter().map(|c| c.label).collect();
        labels.ok_or_else(|| match self.completions.iter().find_map(|c| c.soft_label) {
            None => self.no_correctness(needed_by),
            Some(label) => Error::SoftLabel {
                needed_by: needed_by.to_owned(),
                problem: self.name().to_owned(),
                label,
            },
        })
    }

    /// The outcome labels as numbers, 1 for a correct completion and 0 for an incorrect one; soft
    /// labels as they are.
    ///
    /// # Errors
    /// [`Error::NoCorrectness`] if a completion has no label; `needed_by` says for whom.
    pub fn targets(&self, needed_by: &str) -> Result<Vec<f64>> {
        let target = |c: &Completion| c.label.map(f64::from).or(c.soft_label);
        let targets: Option<Vec<f64>> = self.completions.iter().map(target).collect();
        targets.ok_or_else(|| self.no_correctness(needed_by))
    }

    fn no_correctness(&self, needed_by: &str) -> Error {
        Error::NoCorrectness {
            needed_by: needed_by.to_owned(),
            record: format!("problem `{}`", self.name()),
        }
    }

    /// The fields that the problem has, for messages.
    pub fn field_names(&self) -> String {
        let own = [
            ("prompt", true),
            ("reference", !self.reference.is_empty()),
            ("dataset", !self.dataset.is_empty()),
            (COMPLETIONS, !self.completions.is_empty()),
            (CORRECTNESS, self.completions.iter().any(|completion| completion.label.is_some())),
            (STEPS, self.completions.iter().any(|completion| completion.steps.is_some())),
        ];
        let own = own.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
        let names = own.chain(self.extra.keys().map(String::as_str));
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// The problem's name: its `id`, or its first line.
    pub fn name(&self) -> &str {
        let first_line = || self.prompt.lines().next().unwrap_or_default();
        self.id.as_deref().unwrap_or_else(first_line)
    }

    /// The same problem with the completions of these indices, in this order, each with all that
    /// belongs to it.
    #[must_use]
    pub fn with_completions(&self, indices: &[usize]) -> Self {
        Self {
            id: self.id.clone(),
            prompt: self.prompt.clone(),
            reference: self.reference.clone(),
            dataset: self.dataset.clone(),
            context: self.context.clone(),
            completions: indices.iter().map(|&idx| self.completions[idx].clone()).collect(),
            extra: self.extra.clone(),
        }
    }

    /// The columns beside those of the authors, in the order they are written: those of the problem,
    /// then those of the completions.
    pub(crate) fn further_columns(&self) -> Map<String, Value> {
        let mut columns = self.extra.clone();
        if !self.context.is_empty() {
            insert(&mut columns, CONTEXT, Some(self.context.iter().map(Some).collect()));
        }
        for name in self.completions.iter().flat_map(|completion| completion.extra.keys()) {
            if !columns.contains_key(name) {
                let value = |c: &Completion| c.extra.get(name).cloned();
                insert(&mut columns, name, self.column(value));
            }
        }
        let reason = |c: &Completion| c.finish_reason.map(completion::finish_name);
        insert(&mut columns, SOFT_LABELS, self.column(|c| c.soft_label));
        insert(&mut columns, STEP_LABELS, self.column(|c| c.step_labels.as_ref()));
        insert(&mut columns, FINISH_REASONS, self.column(reason));
        insert(&mut columns, TOKEN_IDS, self.column(|c| c.token_ids.as_ref()));
        insert(&mut columns, MASKS, self.column(|c| c.mask.as_ref()));
        columns
    }

    /// A column of the completions; `None` if no completion has an entry.
    pub(crate) fn column<'a, T>(
        &'a self,
        value: impl Fn(&'a Completion) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        let values: Vec<Option<T>> = self.completions.iter().map(value).collect();
        values.iter().any(Option::is_some).then_some(values)
    }
}

fn insert(
    columns: &mut Map<String, Value>,
    name: &str,
    column: Option<Vec<Option<impl Serialize>>>,
) {
    if let Some(column) = column.filter(|_| !columns.contains_key(name)) {
        columns.insert(name.to_owned(), json!(column));
    }
}

impl Serialize for Rollout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = &self.id {
            map.serialize_entry("id", id)?;
        }
        map.serialize_entry("prompt", &self.prompt)?;
        map.serialize_entry("reference", &self.reference)?;
        map.serialize_entry("dataset", &self.dataset)?;
        map.serialize_entry(COMPLETIONS, &self.texts().collect::<Vec<_>>())?;
        if let Some(labels) = self.column(|completion| completion.label) {
            map.serialize_entry(CORRECTNESS, &labels)?;
        }
        if let Some(steps) = self.column(|completion| completion.steps.as_ref()) {
            map.serialize_entry(STEPS, &steps)?;
        }
        for (name, value) in self.further_columns() {
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

/// A line of a rollout file as stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Columns {
    #[serde(default, deserialize_with = "text_or_integer")]
    pub(crate) id: Option<String>,
    pub(crate) prompt: String,
    pub(crate) reference: Option<String>,
    pub(crate) dataset: Option<String>,
    pub(crate) completions: Option<Vec<String>>,
    pub(crate) correctness: Option<Vec<Option<bool>>>,
    pub(crate) soft_labels: Option<Vec<Option<f64>>>,
    pub(crate) steps: Option<Vec<Option<Vec<String>>>>,
    pub(crate) step_labels: Option<Vec<Option<Vec<Option<f64>>>>>,
    pub(crate) finish_reasons: Option<Vec<Option<String>>>,
    pub(crate) token_ids: Option<Vec<Option<Vec<u32>>>>,
    pub(crate) masks: Option<Vec<Option<Mask>>>,
    pub(crate) context: Option<Vec<Message>>,
    #[serde(flatten)]
    pub(crate) extra: Map<String, Value>,
}

/// Whether the columns that grading adds are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GradingColumns {
    Read,
    /// They are checked and left out.
    PassedOver,
}

impl Columns {
    /// Whether an identifier or a further column is a number that is not surely the one in the file:
    /// integers of 64 bits are, and what is read as 64 bits anyway needs no more.
    pub(crate) fn may_be_rounded(&self) -> bool {
        let is_decimal = |id: &String| id.contains(['.', 'e']) && id.parse::<f64>().is_ok();
        self.id.as_ref().is_some_and(is_decimal) || self.extra.values().any(has_decimal)
    }
}

fn has_decimal(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_decimal),
        Value::Object(fields) => fields.values().any(has_decimal),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

impl TryFrom<Columns> for Rollout {
    type Error = Fault;

    fn try_from(columns: Columns) -> Result<Self, Fault> {
        let texts = columns.completions.unwrap_or_default();
        let mut rollout = Self {
            id: columns.id,
            prompt: columns.prompt,
            reference: columns.reference.unwrap_or_default(),
            dataset: columns.dataset.unwrap_or_default(),
            context: columns.context.unwrap_or_default(),
            completions: texts.into_iter().map(Completion::from).collect(),
            extra: columns.extra,
        };
        if rollout.prompt.trim().is_empty() {
            return Err(Fault::new("prompt", "a problem", "empty text"));
        }
        if columns.correctness.is_none() && !rollout.completions.is_empty() {
            refuse_stepwise(&rollout.extra)?;
        }
        rollout.fill(CORRECTNESS, columns.correctness, |c, label| c.label = Some(label))?;
        rollout.fill(SOFT_LABELS, columns.soft_labels, |c, label| c.soft_label = Some(label))?;
        rollout.check_soft_labels()?;
        rollout.fill(STEPS, columns.steps, |c, steps| c.steps = Some(steps))?;
        rollout.check_steps()?;
        rollout.fill(STEP_LABELS, columns.step_labels, |c, l| c.step_labels = Some(l))?;
        if let Some(names) = columns.finish_reasons {
            let read = |name: Option<String>| {
                name.map(|name| completion::finish_reason(&name)).transpose()
            };
            let reasons = names.into_iter().map(read).collect::<Result<_, _>>()?;
            rollout.fill(FINISH_REASONS, Some(reasons), |c, r| c.finish_reason = Some(r))?;
        }
        rollout.fill(TOKEN_IDS, columns.token_ids, |c, ids| c.token_ids = Some(ids))?;
        rollout.fill(MASKS, columns.masks, |c, mask| c.mask = Some(mask))?;
        for (idx, completion) in rollout.completions.iter().enumerate() {
            if let Some(mask) = &completion.mask {
                mask.check(&format!("{MASKS}[{idx}]"), &completion.text)?;
            }
        }
        mask::take_flags(&mut rollout.completions, &mut rollout.extra)?;
        for name in PER_COMPLETION {
            match rollout.extra.get(name) {
                Some(Value::Array(_) | Value::Null) => {}
                _ => continue,
            }
            if let Some(Value::Array(values)) = rollout.extra.shift_remove(name) {
                let values = values.into_iter().map(Some).collect();
                rollout.fill(name, Some(values), |c, value| {
                    c.extra.insert(name.to_owned(), value);
                })?;
            }
        }
        Ok(rollout)
    }
}

impl Rollout {
    /// Gives each completion its entry of a column.
    fn fill<T>(
        &mut self,
        name: &str,
        column: Option<Vec<Option<T>>>,
        put: impl Fn(&mut Completion, T),
    ) -> Result<(), Fault> {
        let Some(column) = column else { return Ok(()) };
        let n = self.completions.len();
        if column.len() != n {
            let expected = format!("one entry for each of {n} `completions`");
            return Err(Fault::new(name, expected, column.len().to_string()));
        }
        for (completion, entry) in self.completions.iter_mut().zip(column) {
            if let Some(entry) = entry {
                put(completion, entry);
            }
        }
        Ok(())
    }

    fn check_soft_labels(&mut self) -> Result<(), Fault> {
        for (idx, completion) in self.completions.iter_mut().enumerate() {
            let Some(label) = completion.soft_label else { continue };
            let field = || format!("{SOFT_LABELS}[{idx}]");
            if !(0.0..=1.0).contains(&label) {
                return Err(Fault::new(field(), "a number from 0 to 1", format!("`{label}`")));
            }
            if completion.label.is_some() {
                let expected = "null where `correctness` has a label";
                return Err(Fault::new(field(), expected, format!("`{label}`")));
            }
            if label == 0.0 || label == 1.0 {
                (completion.label, completion.soft_label) = (Some(label == 1.0), None);
            }
        }
        Ok(())
    }

    fn check_steps(&self) -> Result<(), Fault> {
        for (idx, completion) in self.completions.iter().enumerate() {
            let Some(steps) = &completion.steps else { continue };
            if completion.text.trim().is_empty() && steps.iter().all(|step| step.trim().is_empty())
            {
                continue;
            }
            let field = format!("{STEPS}[{idx}]");
            if steps.is_empty() {
                return Err(Fault::new(field, "at least one step", "none"));
            }
            if let Some(blank) = steps.iter().position(|step| step.trim().is_empty()) {
                return Err(Fault::new(format!("{field}[{blank}]"), "a step", "empty text"));
            }
        }
        Ok(())
    }
}

/// Refuses TRL's stepwise shape: its `completions` are the steps of one response, not rivals.
fn refuse_stepwise(extra: &Map<String, Value>) -> Result<(), Fault> {
    const LABELS: &str = "labels";
    let is_label = |value: &Value| value.is_boolean() || value == 0 || value == 1;
    let Some(labels) = extra.get(LABELS) else { return Ok(()) };
    match labels.as_array() {
        Some(items) if items.iter().all(is_label) => {
            let expected = "absent beside `completions`: this is TRL's stepwise shape, in which \
                            `completions` are the steps of one response (if they are rival \
                            responses, rename the column `correctness`)";
            Err(Fault::new(LABELS, expected, format!("`{labels}`")))
        }
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Rollout {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::try_from(Columns::deserialize(source)?).map_err(serde::de::Error::custom)
    }
}

impl Record for Rollout {
    type Columns = Columns;

    const FIELDS: &'static [Field] = &[
        Field::optional("id", &Shape::TextOrInteger),
        Field::required("prompt", &Shape::Text),
        Field::optional("reference", &Shape::Text),
        Field::optional("dataset", &Shape::Text),
        Field::optional(COMPLETIONS, &Shape::List(&Shape::Text)),
        Field::optional(CORRECTNESS, &Shape::List(&Shape::OrNull(&Shape::Bool))),
        Field::optional(SOFT_LABELS, &Shape::List(&Shape::OrNull(&Shape::Number))),
        Field::optional(STEPS, &Shape::List(&Shape::OrNull(&Shape::List(&Shape::Text)))),
        Field::optional(STEP_LABELS, &STEP_LABEL_COLUMN),
        Field::optional(FINISH_REASONS, &Shape::List(&Shape::OrNull(&Shape::Text))),
        Field::optional(TOKEN_IDS, &Shape::List(&Shape::OrNull(&Shape::List(&Shape::Number)))),
        Field::optional(MASKS, &Shape::List(&Shape::OrNull(&Shape::Object(&[])))),
    ];

    const IS_ROLLOUT: bool = true;

    fn from_rollout(rollout: Rollout) -> Result<Self, Fault> {
        Ok(rollout)
    }

    fn may_be_rounded(columns: &Columns) -> bool {
        columns.may_be_rounded()
    }

    fn from_columns(columns: Columns) -> Result<Self, Fault> {
        Self::try_from(columns)
    }

    fn quick(line: &[u8]) -> Option<Result<Self, Fault>> {
        Columns::quick(line, GradingColumns::Read).map(Self::from_columns)
    }

    fn open(path: &Path, reading: Reading) -> Result<Box<dyn Source<Self>>> {
        open_files::<Self, Self>(path, reading)
    }

    fn number(&mut self, line: u64) {
        self.id.get_or_insert_with(|| line.to_string());
    }
}

/// Opens a file of rollouts, whose lines must have the column `completions`.
pub(crate) fn open_answered(path: &Path, reading: Reading) -> Result<Box<dyn Source<Rollout>>> {
    open_files::<Answered, Rollout>(path, reading)
}

/// A rollout whose line must have the column `completions`, if only an empty list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered(Rollout);

impl From<Answered> for Rollout {
    fn from(answered: Answered) -> Self {
        answered.0
    }
}

impl Record for Answered {
    type Columns = Columns;

    const FIELDS: &'static [Field] = Rollout::FIELDS;
    const IS_ROLLOUT: bool = true;

    fn from_rollout(rollout: Rollout) -> Result<Self, Fault> {
        if rollout.completions.is_empty() {
            let got = format!("no such field among {}", rollout.field_names());
            return Err(Fault::new(COMPLETIONS, "a list of responses", got));
        }
        Ok(Self(rollout))
    }

    fn may_be_rounded(columns: &Columns) -> bool {
        columns.may_be_rounded()
    }

    fn quick(line: &[u8]) -> Option<Result<Self, Fault>> {
        Columns::quick(line, GradingColumns::Read).map(Self::from_columns)
    }

    fn from_columns(columns: Columns) -> Result<Self, Fault> {
        let has_completions = columns.completions.is_some();
        let rollout = Rollout::try_from(columns)?;
        if has_completions {
            return Ok(Self(rollout));
        }
        let got = format!("no such field among {}", rollout.field_names());
        let fault = Fault::new(COMPLETIONS, "a list of responses", got);
        let has = |name: &str| rollout.extra.contains_key(name);
        Err(fault.hinted(match () {
            () if has("chosen") && has("rejected") => {
                "these are preferences: give both responses as `completions`, and `[true, false]` \
                 as `correctness`"
            }
            () if has("completion") && has("label") => {
                "these are single responses: give all of a problem as `completions`, and their \
                 labels as `correctness`"
            }
            () => "give the responses of a problem as a list of texts named `completions`",
        }))
    }

    fn number(&mut self, line: u64) {
        self.0.number(line);
    }
}

/// Opens a file of rollouts without the columns that grading adds.
pub(crate) fn open_bare(path: &Path, reading: Reading) -> Result<Box<dyn Source<Rollout>>> {
    open_files::<Bare, Rollout>(path, reading)
}

/// A rollout without the columns that grading adds, which mostly need not be read to leave them out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bare(Rollout);

impl From<Bare> for Rollout {
    fn from(bare: Bare) -> Self {
        bare.0
    }
}

impl Record for Bare {
    type Columns = Columns;

    const FIELDS: &'static [Field] = Rollout::FIELDS;
    const IS_ROLLOUT: bool = true;

    fn from_rollout(mut rollout: Rollout) -> Result<Self, Fault> {
        for completion in &mut rollout.completions {
            completion.extra.clear();
        }
        Ok(Self(rollout))
    }

    fn may_be_rounded(columns: &Columns) -> bool {
        columns.may_be_rounded()
    }

    fn quick(line: &[u8]) -> Option<Result<Self, Fault>> {
        let columns = Columns::quick(line, GradingColumns::PassedOver)?;
        Some(Rollout::try_from(columns).map(Self))
    }

    fn from_columns(columns: Columns) -> Result<Self, Fault> {
        Self::from_rollout(Rollout::try_from(columns)?)
    }

    fn number(&mut self, line: u64) {
        self.0.number(line);
    }
}

const STEP_LABEL_COLUMN: Shape =
    Shape::List(&Shape::OrNull(&Shape::List(&Shape::OrNull(&Shape::Number))));

/// Identifiers are often written as numbers.
pub(crate) fn text_or_integer<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(source)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(value) => match exact::integer_text(&value) {
            Some(digits) => Ok(Some(digits.into_owned())),
            None => Err(serde::de::Error::custom("expected a string or an integer")),
        },
    }
}
