//! Models by name from a loopback server that speaks the hub's routes.

use crate::loopback::{COMMIT, FILES, Hub, score, scores_in};
use crate::workspace::{Workspace, stderr};

#[test]
fn a_name_is_fetched_once_and_then_found_without_a_network() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let local = workspace.run(&score("model"));
    let fetched = hub.run(&workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    assert_eq!(scores_in(&fetched), scores_in(&local));
    assert!(stderr(&fetched).contains("fetched `model.safetensors`"), "{}", stderr(&fetched));
    let n_requests = hub.n_requests();
    for online in [true, false] {
        let again = hub.run(&workspace, &score("org/name"), online);
        assert!(again.status.success(), "{}", stderr(&again));
        assert_eq!(scores_in(&again), scores_in(&local));
    }
    assert_eq!(hub.n_requests(), n_requests, "the cache needs no request");
    let snapshot = format!("hub-home/hub/models--org--name/snapshots/{COMMIT}");
    assert_eq!(workspace.names(&snapshot), FILES);

    // Another revision is asked for; its files are known by their content.
    let revised = hub.run(&workspace, &score("org/name@v1"), true);
    assert!(revised.status.success(), "{}", stderr(&revised));
    assert!(hub.n_requests() > n_requests);

    // What is here wins over a name.
    std::fs::create_dir_all(workspace.path("org")).expect("made");
    std::fs::rename(workspace.path("model"), workspace.path("org/name")).expect("moved");
    let n_requests = hub.n_requests();
    std::fs::remove_dir_all(workspace.path("hub-home")).expect("removed");
    let here = hub.run(&workspace, &score("org/name"), true);
    assert!(here.status.success(), "{}", stderr(&here));
    assert_eq!(hub.n_requests(), n_requests);
}

#[test]
fn a_download_that_is_cut_off_goes_on() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    // More often than it is tried: the first run gives up.
    hub.shelf().n_cuts = 5;
    let first = hub.run(&workspace, &score("org/name"), true);
    let text = stderr(&first);
    assert_eq!(first.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot fetch model.safetensors of `org/name` from the hub"), "{text}");
    assert!(text.contains("then run the same command again: a download continues"), "{text}");
    assert!(!text.contains("fetched `model.safetensors`"), "{text}");
    hub.shelf().n_cuts = 0;
    let second = hub.run(&workspace, &score("org/name"), true);
    assert!(second.status.success(), "{}", stderr(&second));
    assert_eq!(scores_in(&second), scores_in(&workspace.run(&score("model"))));
    let shelf = hub.shelf();
    let starts: Vec<usize> = shelf
        .asked
        .iter()
        .filter(|request| request.is_download_of("model.safetensors"))
        .map(|request| request.first)
        .collect();
    assert_eq!(starts[0], 0, "{starts:?}");
    assert!(starts.is_sorted_by(|a, b| a < b), "each goes on where the last stopped: {starts:?}");
}

#[test]
fn what_the_hub_does_not_give_is_said_with_a_hint() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let fails = |model: &'static str, online: bool| {
        let output = hub.run(&workspace, &score(model), online);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let text = fails("org/name", false);
    assert!(text.contains("`org/name` is not in the cache"), "{text}");
    assert!(text.contains("hint: unset `HF_HUB_OFFLINE`"), "{text}");
    assert_eq!(hub.n_requests(), 0);
    let text = fails("org/absent", true);
    assert!(text.contains("the hub has no `org/absent`"), "{text}");
    assert!(text.contains("hint: check the path if a folder was meant, or the name"), "{text}");
    let text = fails("org/private", true);
    assert!(text.contains("the hub denies access to the list of files of `org/private`"), "{text}");
    assert!(text.contains("hint: set `HF_TOKEN`"), "{text}");
    hub.shelf().files.remove("model.safetensors");
    let text = fails("org/name", true);
    assert!(text.contains("lacks `model.safetensors`, nor other weights"), "{text}");
}
