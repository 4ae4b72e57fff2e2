//! Integration tests of the engine: whole checkpoints, whole passes, whole samples.

mod chat_template;
mod checkpoint;
mod data;
mod equivalence;
mod gguf;
mod lora;
mod mapped;
mod parity;
mod sampling;
mod tokenizer;
mod value_head;
mod written;
