//! Quantised blocks against the Python package `gguf`, bit by bit.

use std::fs;
use std::path::Path;

use gratis_model::BlockType;
use safetensors::SafeTensors;

#[test]
fn every_type_of_block_has_the_bits_of_the_python_package() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf/blocks.safetensors");
    let bytes = fs::read(path).expect("a fixture");
    let golden = SafeTensors::deserialize(&bytes).expect("safetensors");
    for kind in BlockType::ALL {
        let name = kind.name();
        let part = |part: &str| golden.tensor(&format!("{name}.{part}")).expect("a tensor");
        let (blocks, expected) = (part("blocks"), part("values"));
        assert_eq!(blocks.shape()[1], kind.n_bytes(), "{name}");
        assert_eq!(expected.shape()[1], kind.n_values(), "{name}");
        let words = expected.data().as_chunks::<4>().0.iter();
        let expected: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
        assert!(expected.len() >= 1024 && expected.iter().all(|value| value.is_finite()), "{name}");
        let mut values = vec![f32::NAN; expected.len()];
        kind.dequantise(blocks.data(), &mut values);
        for (idx, (got, expected)) in values.iter().zip(&expected).enumerate() {
            assert_eq!(got.to_bits(), expected.to_bits(), "{name} {idx}: {got} {expected}");
        }
    }
}
