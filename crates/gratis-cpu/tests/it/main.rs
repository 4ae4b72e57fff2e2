//! Integration tests of the engine: whole checkpoints, whole passes, whole samples.

mod checkpoint;
mod data;
mod equivalence;
mod experts;
mod gguf;
mod lora;
mod mapped;
mod parity;
mod quantised;
mod sampling;
mod single;
mod value_head;
mod written;
