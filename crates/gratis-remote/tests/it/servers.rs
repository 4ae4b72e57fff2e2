//! Fake servers and engines for the other modules.

use std::path::{Path, PathBuf};

use gratis_bench_remote::{Behaviour, EngineModel, FakeServer, HashModel};
use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_engine::Score;
use gratis_remote::{Connection, EngineSettings, InferenceEngine, ModelShape, Protocol};

/// A folder of `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A tiny real model.
pub(crate) fn native() -> NativeEngine {
    let folder = fixture("models/llama-tied");
    NativeEngine::load(&folder, NativeOptions::default()).expect("a fixture")
}

/// A server of the tiny real model.
pub(crate) fn real(behaviour: Behaviour) -> FakeServer {
    FakeServer::start(EngineModel(native()), behaviour).expect("a free port")
}

/// A server of a function, with a vocabulary of 1000.
pub(crate) fn hashed(behaviour: Behaviour) -> FakeServer {
    let model = HashModel { vocab_size: 1000, shift: 0.0 };
    FakeServer::start(model, behaviour).expect("a free port")
}

/// Settings for servers, with short waits.
pub(crate) fn settings(protocol: Protocol, servers: &[&FakeServer]) -> EngineSettings {
    let mut settings = EngineSettings::new(protocol, "", "policy");
    settings.url = None;
    settings.urls = servers.iter().map(|server| server.url()).collect();
    settings.dtype = gratis_remote::DataType::Float32;
    settings.answer_seconds = 20.0;
    settings.retry_seconds = 20.0;
    settings
}

/// The shape of the function's model.
pub(crate) fn hash_shape() -> ModelShape {
    ModelShape {
        architecture: "LlamaForCausalLM".to_owned(),
        n_parameters: 1,
        vocab_size: 1000,
        context_length: 4096,
    }
}

/// The shape of the tiny real model.
pub(crate) fn native_shape() -> ModelShape {
    let native = native();
    let description = native.describe();
    ModelShape {
        architecture: description.architecture.clone(),
        n_parameters: description.n_parameters,
        vocab_size: description.vocab_size,
        context_length: description.context_length,
    }
}

/// Connects without a key or a proxy.
pub(crate) fn connect(
    settings: &EngineSettings,
    shape: ModelShape,
) -> gratis_remote::Result<InferenceEngine> {
    InferenceEngine::connect(settings, &Connection::default(), shape)
}
