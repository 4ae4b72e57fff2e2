//! Where a model may lead: links in its folder, adapters and their bases, paths that are none.

use crate::loopback::{Hub, score};
use crate::workspace::{Workspace, stderr};

#[cfg(unix)]
#[test]
fn a_link_out_of_a_models_folder_is_refused() {
    use std::os::unix::fs::symlink;
    for name in ["chat_template.jinja", "generation_config.json", "special_tokens_map.json"] {
        let workspace = Workspace::new();
        workspace.write("secret", "{\"secret\": \"of the user\"}");
        symlink("../secret", workspace.path(&format!("model/{name}"))).expect("linked");
        let train = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "prm"];
        let init = ["init", "new", "--preset", "nano", "--tokenizer", "model"];
        for arguments in [&["inspect", "model"][..], &train, &score("model"), &init] {
            let text = workspace.error_of(arguments);
            let expected = format!("model/{name}` is a link out of the model's folder");
            assert!(text.contains(&expected), "{text}");
            assert!(text.contains("hint: copy the file into the folder"), "{text}");
            assert!(!text.contains("of the user"), "{text}");
        }
        assert!(!workspace.path("prm/model").exists() && !workspace.path("new").exists());
    }
    // A link to the folder, and one within it, are as good as what they lead to.
    let workspace = Workspace::new();
    std::fs::rename(workspace.path("model/config.json"), workspace.path("model/c")).expect("moved");
    symlink("c", workspace.path("model/config.json")).expect("linked");
    symlink("model", workspace.path("by-link")).expect("linked");
    let output = workspace.run(&["inspect", "by-link"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // The model of a run is in the run's folder.
    std::fs::create_dir(workspace.path("run")).expect("made");
    symlink("../model", workspace.path("run/model")).expect("linked");
    let text = workspace.error_of(&["inspect", "run"]);
    assert!(text.contains("run/model` is a link out of the model's folder"), "{text}");
}

/// An adapter in a folder, to `base`.
fn write_adapter(workspace: &Workspace, folder: &str, base: &str) {
    std::fs::create_dir_all(workspace.path(folder)).expect("made");
    let config = serde_json::json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"],
        "base_model_name_or_path": base,
    });
    workspace.write(&format!("{folder}/adapter_config.json"), &config.to_string());
}

#[test]
fn adapters_do_not_lead_in_a_circle() {
    let workspace = Workspace::new();
    write_adapter(&workspace, "self", "self");
    write_adapter(&workspace, "a", "b");
    write_adapter(&workspace, "b", "./c/../c");
    write_adapter(&workspace, "c", "a");
    for (folder, n_steps) in [("self", 1), ("a", 3), ("c", 3)] {
        let text = workspace.error_of(&["inspect", folder]);
        assert!(text.contains("an adapter is its own base: "), "{text}");
        assert_eq!(text.matches(" -> ").count(), n_steps, "{text}");
        assert!(text.contains("hint: `base_model_name_or_path`"), "{text}");
    }
    for idx in 0..30 {
        write_adapter(&workspace, &format!("chain-{idx}"), &format!("chain-{}", idx + 1));
    }
    let text = workspace.error_of(&["inspect", "chain-0"]);
    assert!(text.contains("more than 8 adapters on top of each other"), "{text}");
}

#[test]
fn a_missing_folder_is_not_blamed_on_the_network() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    std::fs::create_dir(workspace.path("runs")).expect("made");
    let fails = |model: &'static str| {
        let output = hub.run(&workspace, &score(model), true);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let text = fails("runs/prm");
    assert!(text.contains("`runs/prm` is absent: the folder `runs` has nothing of that"), "{text}");
    assert!(text.contains("for a model on a hub write `runs/prm@main`"), "{text}");
    assert_eq!(hub.n_requests(), 0);
    // Whether this is a path or a name, nobody can know: both are said.
    let text = fails("absent/prm");
    assert!(text.contains("`absent/prm` is not a local file or folder"), "{text}");
    assert!(text.contains("the hub has no `absent/prm`"), "{text}");
    assert!(text.contains("hint: check the path if a folder was meant"), "{text}");
    assert!(!text.contains("is there a network"), "{text}");
    assert_eq!(hub.n_requests(), 1);
    fails("runs/prm@main");
    assert_eq!(hub.n_requests(), 2);
}
