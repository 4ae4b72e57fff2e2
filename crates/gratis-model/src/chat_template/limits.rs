//! Bounds on the computation of a template.
//!
//! A chat template is untrusted code. Fuel bounds the number of its instructions; a [`Budget`]
//! bounds what they work on: the depth and the size of every value, the bytes of all values
//! together, and the work of reading them. The size of a value counts what is shared as often as it
//! stands there, so traversing a value takes no longer than its size. No value
//! holds itself: a namespace or a loop stands in no other value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Name of the variable that holds the budget of a rendering; no template can spell it.
const VARIABLE: &str = "\0budget";

/// Deepest nesting of lists and maps; that of JSON is at most 127.
const MAX_DEPTH: usize = 160;
/// Size of a value without the size of the input.
const VALUE_BYTES: usize = 4 << 20;
/// Bytes of all values without the size of the input.
const TOTAL_BYTES: usize = 128 << 20;
/// Units of work without the size of the input: a unit is an entry or 16 bytes of a text.
const WORK: u64 = 100_000_000;

/// What an entry of a list or a map counts beside its own size, in bytes.
const ENTRY_BYTES: usize = 32;
/// Bytes of text that are a unit of work.
const BYTES_PER_UNIT: usize = 16;

/// The remaining budget of a rendering.
#[derive(Debug)]
pub(super) struct Budget {
    max_value: usize,
    bytes: AtomicU64,
    work: AtomicU64,
}

impl Object for Budget {}

impl Budget {
    /// The budget for variables of `n_input` bytes, as a variable.
    pub(super) fn variable(n_input: usize) -> (String, Value) {
        let budget = Self {
            max_value: VALUE_BYTES.saturating_add(n_input.saturating_mul(4)),
            bytes: AtomicU64::new(TOTAL_BYTES.saturating_add(n_input.saturating_mul(16)) as u64),
            work: AtomicU64::new(WORK.saturating_add((n_input as u64).saturating_mul(256))),
        };
        (VARIABLE.to_owned(), Value::from_object(budget))
    }

    /// The budget of the rendering that `state` belongs to.
    pub(super) fn of(state: &State) -> Result<Arc<Self>, Error> {
        let budget = state.lookup(VARIABLE).and_then(|value| value.downcast_object::<Self>());
        budget.ok_or_else(|| refused("the rendering has no budget".to_owned()))
    }

    /// Rejects a value of `n_bytes`, which `what` would make, if it is too large.
    pub(super) fn check_size(&self, what: &str, n_bytes: usize) -> Result<(), Error> {
        if n_bytes <= self.max_value {
            return Ok(());
        }
        let limit = self.max_value;
        Err(refused(format!(
            "`{what}` makes a value of more than {limit} bytes, which a template may not"
        )))
    }

    /// Takes the bytes of a new value.
    pub(super) fn take_bytes(&self, n_bytes: usize) -> Result<(), Error> {
        take(&self.bytes, n_bytes as u64, "the values of the template take too much memory")?;
        self.take_work(n_bytes)
    }

    /// Takes the work of reading `n_bytes`.
    pub(super) fn take_work(&self, n_bytes: usize) -> Result<(), Error> {
        let units = 1 + (n_bytes / BYTES_PER_UNIT) as u64;
        take(&self.work, units, "the template takes too much work")
    }

    /// Size of a value, which must be neither too large nor nested too deep; walking through it is
    /// work.
    pub(super) fn measure(&self, what: &str, value: &Value) -> Result<usize, Error> {
        let mut size = 0;
        self.add_size(what, value, 0, &mut size)?;
        self.take_work(size)?;
        Ok(size)
    }

    fn add_size(
        &self,
        what: &str,
        value: &Value,
        depth: usize,
        size: &mut usize,
    ) -> Result<(), Error> {
        *size += ENTRY_BYTES;
        match value.kind() {
            ValueKind::String => *size += value.as_str().map_or(0, str::len),
            ValueKind::Bytes => *size += value.as_bytes().map_or(0, <[u8]>::len),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
                if depth > 0 && holds_others(value) {
                    return Err(refused(format!(
                        "`{what}` puts a namespace or a loop into another value"
                    )));
                }
                if depth >= MAX_DEPTH {
                    return Err(refused(format!(
                        "`{what}` makes a value that is nested deeper than {MAX_DEPTH}"
                    )));
                }
                let is_map = value.kind() == ValueKind::Map;
                for item in value.try_iter()? {
                    self.add_size(what, &item, depth + 1, size)?;
                    if is_map {
                        self.add_size(what, &value.get_item(&item)?, depth + 1, size)?;
                    }
                }
            }
            _ => {}
        }
        self.check_size(what, *size)
    }

    /// Takes the work of reading a value without what stands in its entries.
    pub(super) fn weigh_top(&self, value: &Value) -> Result<(), Error> {
        let n_bytes = match value.kind() {
            ValueKind::String => value.as_str().map_or(0, str::len),
            ValueKind::Seq | ValueKind::Map => value.len().unwrap_or(0) * BYTES_PER_UNIT,
            _ => 0,
        };
        self.take_work(n_bytes)
    }

    /// Accepts what `what` made: measures it, takes its bytes, and turns what is computed on demand
    /// into a list, so that no chain of demands grows.
    pub(super) fn accept(&self, what: &str, value: Value) -> Result<Value, Error> {
        match value.kind() {
            ValueKind::String => {
                let n_bytes = value.as_str().map_or(0, str::len);
                self.check_size(what, n_bytes)?;
                self.take_bytes(n_bytes)?;
                Ok(value)
            }
            ValueKind::Seq | ValueKind::Iterable => {
                if let Some(Numbers { n, .. }) = value.downcast_object_ref() {
                    self.check_size(what, n * ENTRY_BYTES)?;
                    self.take_work(n * BYTES_PER_UNIT)?;
                    return Ok(value);
                }
                let is_whole = value.downcast_object_ref::<Vec<Value>>().is_some()
                    || value.downcast_object_ref::<Tuple>().is_some();
                let value = if is_whole { value } else { self.collect(what, &value)? };
                self.measure(what, &value)?;
                self.take_bytes(value.len().unwrap_or(0) * ENTRY_BYTES + 4 * ENTRY_BYTES)?;
                Ok(value)
            }
            ValueKind::Map => {
                self.measure(what, &value)?;
                self.take_bytes(value.len().unwrap_or(0) * 2 * ENTRY_BYTES + 4 * ENTRY_BYTES)?;
                Ok(value)
            }
            _ => Ok(value),
        }
    }

    /// Accepts what is to stand in a namespace.
    pub(super) fn accept_inside(&self, what: &str, value: Value) -> Result<Value, Error> {
        if holds_others(&value) {
            return Err(refused(format!("`{what}` puts a namespace or a loop into another value")));
        }
        if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
            self.measure(what, &value)?;
        }
        Ok(value)
    }

    fn collect(&self, what: &str, value: &Value) -> Result<Value, Error> {
        let mut items = Vec::new();
        for item in value.try_iter()? {
            items.push(item);
            self.check_size(what, items.len() * ENTRY_BYTES)?;
        }
        Ok(Value::from(items))
    }
}

/// The numbers of a `range`, which take no memory.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) n: usize,
}

impl Object for Numbers {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let idx = key.as_usize().filter(|&idx| idx < self.n)?;
        Some(Value::from(self.start + idx as i64 * self.step))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.n)
    }
}

/// Whether a value is one that can be changed and so could come to hold itself.
fn holds_others(value: &Value) -> bool {
    let name = value.as_object().map_or("", |object| object.type_name());
    name.ends_with("::Namespace") || name.ends_with("::Loop")
}

fn take(from: &AtomicU64, n: u64, message: &str) -> Result<(), Error> {
    let taken = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n));
    taken.map(|_| ()).map_err(|_| refused(message.to_owned()))
}

/// The error of a template that exceeds a bound.
pub(super) fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
