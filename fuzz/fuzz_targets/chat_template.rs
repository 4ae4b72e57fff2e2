//! No template makes rendering panic, hang or fill the memory: the runner stops at 10 seconds and at
//! 1 GiB (`fuzz/run.sh`). `cargo +nightly fuzz run chat_template -- -timeout=10 -rss_limit_mb=1024`.
#![no_main]

use gratis_model::chat_template::{ChatTemplate, Message, RenderOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source) else { return };
    let messages = [Message::user("2 + 2?\nSay it."), Message::assistant("Step 1: 4.")];
    let options = RenderOptions::default();
    let _ = template.render(&messages, &options);
    if let Ok(rendered) = template.render_response(&messages, &options) {
        assert!(rendered.text.get(rendered.response).is_some());
        assert!(rendered.text.get(rendered.content).is_some());
    }
});
