//! Integration tests of models at rest: tokenizers and chat templates.

mod chat_template;
mod checkpoint;
mod data;
mod hostile_template;
mod tokenizer;
