//! What the service says about itself.

use serde_json::json;

use crate::service::Service;

pub(super) fn page(_: &Service) -> String {
    crate::page::empty()
}

pub(super) fn health(service: &Service) -> String {
    json!({"status": "ok", "queue": service.queue.n_requests()}).to_string()
}

/// The reward model in the shape of OpenAI's list, with how it scores under `gratis`.
pub(super) fn models(service: &Service) -> String {
    let about = &service.about;
    json!({"object": "list", "data": [{
        "id": about.origin.model,
        "object": "model",
        "created": 0,
        "owned_by": "gratis",
        "root": about.origin.model,
        "max_model_len": about.context_length,
        "gratis": {
            "version": env!("CARGO_PKG_VERSION"),
            "origin": about.origin,
            "aggregation": about.aggregation.name(),
            "template": about.template,
            "batch_tokens": about.batch_tokens,
            "max_request_tokens": service.settings.max_request_tokens,
            "max_body_bytes": service.settings.max_body_bytes,
        },
    }]})
    .to_string()
}

pub(super) fn openapi(_: &Service) -> String {
    include_str!("openapi.json").to_owned()
}
