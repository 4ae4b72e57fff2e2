//! No template, and no conversation, makes rendering panic, hang or fill the memory:
//! `cargo +nightly fuzz run chat_template`.
#![no_main]

use gratis_engine::chat_template::{ChatTemplate, Message, RenderOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (source, question, answer) = input;
    let Ok(template) = ChatTemplate::new(source) else { return };
    let messages = [Message::user(question), Message::assistant(answer)];
    let options = RenderOptions::default();
    let _ = template.render(&messages, &options);
    if let Ok(rendered) = template.render_response(&messages, &options) {
        assert!(rendered.text.get(rendered.response).is_some());
        assert!(rendered.text.get(rendered.content).is_some());
    }
});
