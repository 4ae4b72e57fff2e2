//! Integration tests of models at rest: tokenizers, chat templates, quantised blocks.

mod chat_template;
mod checkpoint;
mod data;
mod hostile_template;
mod tokenizer;
