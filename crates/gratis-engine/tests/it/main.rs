//! Integration tests of the engine: whole checkpoints, whole passes, whole samples.

mod checkpoint;
mod equivalence;
mod parity;
mod tokenizer;
