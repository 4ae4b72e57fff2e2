//! No template makes rendering panic, hang or fill the memory: the runner stops at 10 seconds and at
//! 1 GiB (`fuzz/run.sh`). `cargo +nightly fuzz run chat_template -- -timeout=10 -rss_limit_mb=1024`.
#![no_main]

use gratis_model::chat_template::{ChatTemplate, GenerationPrompt, Message, Opening, RenderOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source) else { return };
    let messages = [Message::user("2 + 2?\nSay it."), Message::assistant("Step 1: 4.")];
    for generation_prompt in [GenerationPrompt::Omit, GenerationPrompt::Add] {
        let options = RenderOptions { generation_prompt, ..RenderOptions::default() };
        if let Ok(text) = template.render(&messages, &options)
            && let Some(opening) = Opening::of(&text)
        {
            assert!(text.is_char_boundary(opening.repeated(&text)));
        }
    }
});
