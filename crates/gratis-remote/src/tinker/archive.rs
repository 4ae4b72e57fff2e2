//! A checkpoint as it is downloaded: a `.tar.gz` with an adapter in the layout of peft.
//!
//! `target_modules` is null in it, which peft and this program refuse: the names are derived from the
//! names of the tensors.

use std::collections::BTreeSet;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tar::Archive;

/// Largest archive.
const MAX_BYTES: u64 = 8 << 30;

/// The two files of an adapter.
#[derive(Debug, PartialEq)]
pub(crate) struct Adapter {
    pub(crate) config: Value,
    pub(crate) weights: Vec<u8>,
}

/// Reads an archive.
pub(crate) fn read(archive: &[u8]) -> Result<Adapter, String> {
    let (mut config, mut weights) = (None, None);
    let mut files = Archive::new(GzDecoder::new(archive).take(MAX_BYTES));
    let invalid = |error: io::Error| format!("it is no `.tar.gz` archive: {error}");
    for file in files.entries().map_err(invalid)? {
        let mut file = file.map_err(invalid)?;
        if !file.header().entry_type().is_file() {
            continue;
        }
        let path = file.path().map_err(invalid)?.into_owned();
        let content = match path.file_name().and_then(|name| name.to_str()) {
            Some("adapter_config.json") => &mut config,
            Some("adapter_model.safetensors") => &mut weights,
            _ => continue,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(invalid)?;
        *content = Some(bytes);
    }
    let config = config.ok_or("it has no `adapter_config.json`")?;
    let weights = weights.ok_or("it has no `adapter_model.safetensors`")?;
    let mut config: Value = serde_json::from_slice(&config)
        .map_err(|error| format!("`adapter_config.json`: {error}"))?;
    if config["target_modules"].is_null() {
        config["target_modules"] = json!(target_modules(&weights)?);
    }
    Ok(Adapter { config, weights })
}

/// The modules that the tensors of a safetensors file adapt.
fn target_modules(weights: &[u8]) -> Result<Vec<String>, String> {
    let n = weights.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let header = n.and_then(|n| weights.get(8..)?.get(..usize::try_from(n).ok()?));
    let header: Value = header
        .and_then(|header| serde_json::from_slice(header).ok())
        .ok_or("`adapter_model.safetensors` has no header")?;
    let names = header.as_object().into_iter().flat_map(|map| map.keys());
    let modules: BTreeSet<String> = names
        .filter_map(|name| {
            let (module, _) = name.split_once(".lora_")?;
            module.rsplit('.').next().map(str::to_owned)
        })
        .collect();
    if modules.is_empty() {
        return Err("`adapter_model.safetensors` has no LoRA tensors".to_owned());
    }
    Ok(modules.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(encoder);
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, *content).expect("packed");
        }
        archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("packed")
    }

    #[test]
    fn the_target_modules_are_those_of_the_tensors() {
        let header = json!({
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": {},
            "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight": {},
            "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight": {},
        })
        .to_string();
        let weights = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let config = br#"{"r": 8, "lora_alpha": 32, "target_modules": null}"#;
        let packed =
            tar(&[("./adapter_config.json", config), ("x/adapter_model.safetensors", &weights)]);
        let adapter = read(&packed).expect("valid");
        assert_eq!(adapter.config["target_modules"], json!(["down_proj", "q_proj"]));
        assert_eq!(adapter.weights, weights);
        assert!(read(&tar(&[("adapter_config.json", config)])).is_err());
        assert!(read(b"no archive").is_err());
    }
}
