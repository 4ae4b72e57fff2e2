//! A checkpoint as it is downloaded: a `.tar.gz` with an adapter in the layout of peft.
//!
//! `target_modules` is null in it, which peft and this program refuse: the names are derived from the
//! names of the tensors.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// Bytes of a block of an archive.
const BLOCK: usize = 512;
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
    let mut bytes = Vec::new();
    let unpacked = GzDecoder::new(archive).take(MAX_BYTES).read_to_end(&mut bytes);
    unpacked.map_err(|error| format!("it is no gzip file: {error}"))?;
    let (mut config, mut weights) = (None, None);
    for (name, content) in files(&bytes)? {
        match name.rsplit('/').next() {
            Some("adapter_config.json") => config = Some(content),
            Some("adapter_model.safetensors") => weights = Some(content),
            _ => {}
        }
    }
    let config = config.ok_or("it has no `adapter_config.json`")?;
    let weights = weights.ok_or("it has no `adapter_model.safetensors`")?.to_vec();
    let mut config: Value = serde_json::from_slice(config)
        .map_err(|error| format!("`adapter_config.json`: {error}"))?;
    if config["target_modules"].is_null() {
        config["target_modules"] = json!(target_modules(&weights)?);
    }
    Ok(Adapter { config, weights })
}

/// The regular files of a tar archive.
fn files(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        let size = text(&header[124..136]);
        let size = usize::from_str_radix(size.trim(), 8)
            .map_err(|_| format!("a file of the archive has the size {size:?}"))?;
        let start = at + BLOCK;
        let content = bytes.get(start..start + size).ok_or("the archive is cut off")?;
        if matches!(header[156], b'0' | 0) {
            found.push((text(&header[..100]), content));
        }
        at = start + size.div_ceil(BLOCK) * BLOCK;
    }
    Ok(found)
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
    use std::io::Write;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            let mut header = [0_u8; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            let size = format!("{:011o}", content.len());
            header[124..135].copy_from_slice(size.as_bytes());
            header[156] = b'0';
            bytes.extend(header);
            bytes.extend(*content);
            bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        bytes.extend([0; 2 * BLOCK]);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("packed")
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
