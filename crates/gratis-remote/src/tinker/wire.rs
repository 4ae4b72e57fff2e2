//! The protobuf messages of the Tinker API that are needed, written by hand.
//!
//! Three messages with a dozen fields do not justify a code generator, which would need a compiler of
//! its own at build time. Unknown fields of an answer are skipped, as protobuf prescribes.

/// Number of a float32 tensor.
const FLOAT32: u64 = 1;
/// Number of an int64 tensor.
const INT64: u64 = 2;

/// One sequence: what goes in, what is predicted at each position, and what the loss reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    /// The whole sequence.
    pub(crate) tokens: Vec<u32>,
    /// Inputs of the loss by name, one value per token but the first.
    pub(crate) inputs: Vec<(&'static str, Vec<f32>)>,
}

/// A request for a forward or a backward pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForwardBackward<'a> {
    pub(crate) model_id: &'a str,
    pub(crate) seq_id: u64,
    pub(crate) data: &'a [Datum],
    pub(crate) loss: &'a str,
    pub(crate) is_forward_only: bool,
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

impl ForwardBackward<'_> {
    /// The bytes of the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Message::default();
        message.bytes(1, self.model_id.as_bytes());
        message.number(2, self.seq_id);
        for datum in self.data {
            message.message(3, |message| datum.encode(message));
        }
        message.bytes(4, self.loss.as_bytes());
        if self.is_forward_only {
            message.number(6, 1);
        }
        message.0
    }
}

impl Datum {
    fn encode(&self, message: &mut Message) {
        let n = self.tokens.len().saturating_sub(1);
        let ids: Vec<u8> = self.tokens[..n].iter().flat_map(|id| id.to_le_bytes()).collect();
        // Chunk { encoded_text: EncodedTextChunk { tokens } }
        message.message(1, |chunk| chunk.message(1, |text| text.bytes(1, &ids)));
        let targets: Vec<u8> =
            self.tokens[1..].iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
        let mut input = |name: &str, dense: &[u8], dtype: u64| {
            message.message(2, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.message(2, |tensor| {
                    tensor.bytes(1, dense);
                    tensor.number(3, dtype);
                    // Packed, as proto3 writes repeated numbers.
                    tensor.message(4, |shape| shape.varint(n as u64));
                });
            });
        };
        input("target_tokens", &targets, INT64);
        for (name, values) in &self.inputs {
            let dense: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            input(name, &dense, FLOAT32);
        }
    }
}

/// A field of a message: its number and its content.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("a message is cut off")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long".to_owned())
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], String> {
        let n = usize::try_from(n).map_err(|_| "a field is too long")?;
        let (taken, rest) = self.0.split_at_checked(n).ok_or("a message is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let n = self.varint()?;
                Field::Bytes(self.take(n)?)
            }
            5 => Field::Bytes(self.take(4)?),
            other => return Err(format!("wire type {other} is unknown")),
        };
        Ok(Some((key >> 3, field)))
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// The log-probabilities of a `ForwardBackwardOutput`: a row per datum.
pub(crate) fn log_probs(body: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let mut rows = Vec::new();
    let mut fields = Fields(body);
    while let Some((number, field)) = fields.next()? {
        if let (2, Field::Bytes(record)) = (number, field) {
            of_record(record, &mut rows)?;
        }
    }
    Ok(rows)
}

/// Appends the rows of an `ArrayRecord`.
fn of_record(record: &[u8], rows: &mut Vec<Vec<f32>>) -> Result<(), String> {
    let mut fields = Fields(record);
    while let Some((number, field)) = fields.next()? {
        let (2, Field::Bytes(entry)) = (number, field) else { continue };
        let (mut name, mut tensor) = (&[][..], &[][..]);
        let mut entries = Fields(entry);
        while let Some((number, field)) = entries.next()? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => name = bytes,
                (2, Field::Bytes(bytes)) => tensor = bytes,
                _ => {}
            }
        }
        if name == b"logprobs" {
            of_tensor(tensor, rows)?;
        }
    }
    Ok(())
}

/// Appends the rows of a `BatchedTensor` of float32.
fn of_tensor(tensor: &[u8], rows: &mut Vec<Vec<f32>>) -> Result<(), String> {
    let (mut data, mut offsets, mut dtype) = (&[][..], &[][..], 0);
    let mut fields = Fields(tensor);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => data = bytes,
            (2, Field::Bytes(bytes)) => offsets = bytes,
            (3, Field::Number(number)) => dtype = number,
            _ => {}
        }
    }
    if dtype != FLOAT32 {
        return Err(format!("`logprobs` has the type {dtype}, not float32"));
    }
    let (words, _) = offsets.as_chunks::<8>();
    let offsets: Vec<usize> = words.iter().map(|&word| u64::from_le_bytes(word) as usize).collect();
    for pair in offsets.windows(2) {
        let row = data.get(pair[0]..pair[1]).ok_or("an offset of `logprobs` is outside")?;
        rows.push(floats(row));
    }
    Ok(())
}

/// A sequence of a `SampleResponse`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_probs: Vec<f32>,
    /// Whether it ended for its length.
    pub(crate) is_cut: bool,
}

/// The sequences of a `SampleResponse`.
pub(crate) fn samples(body: &[u8]) -> Result<Vec<Sampled>, String> {
    let mut all = Vec::new();
    let mut fields = Fields(body);
    while let Some((number, field)) = fields.next()? {
        let (1, Field::Bytes(sequence)) = (number, field) else { continue };
        let mut sampled = Sampled { tokens: Vec::new(), log_probs: Vec::new(), is_cut: false };
        let mut fields = Fields(sequence);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Number(reason)) => sampled.is_cut = reason == 1,
                (2, Field::Bytes(bytes)) => {
                    let (words, _) = bytes.as_chunks::<4>();
                    sampled.tokens = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
                }
                (3, Field::Bytes(bytes)) => sampled.log_probs = floats(bytes),
                _ => {}
            }
        }
        all.push(sampled);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn recorded(name: &str) -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/engines/skyrl");
        let text = std::fs::read(format!("{folder}/{name}.json")).expect("a fixture");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Bytes in the base64 of a fixture.
    fn decoded(text: &str) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bits = 0_u32;
        let (mut n_bits, mut bytes) = (0, Vec::new());
        for symbol in text.bytes().filter(|&symbol| symbol != b'=') {
            let value = alphabet.iter().position(|&known| known == symbol).expect("base64");
            bits = bits << 6 | value as u32;
            n_bits += 6;
            if n_bits >= 8 {
                n_bits -= 8;
                bytes.push((bits >> n_bits) as u8);
            }
        }
        bytes
    }

    #[test]
    fn a_request_has_the_bytes_of_the_official_client() {
        let recorded = recorded("fb_ce");
        let expected = decoded(recorded["request"]["base64"].as_str().expect("base64"));
        // As a map has no order, the official client writes `weights` first.
        let tokens = [0, 124, 306, 281, 69, 192, 471, 312, 245, 323, 300, 36, 313, 9];
        let weights: Vec<f32> = (0..13).map(|at| if at < 6 { 0.0 } else { 1.0 }).collect();
        let datum = Datum { tokens: tokens.to_vec(), inputs: vec![("weights", weights)] };
        let request = ForwardBackward {
            model_id: "model_fab20130",
            seq_id: 1,
            data: &[datum],
            loss: "cross_entropy",
            is_forward_only: false,
        };
        let found = request.encode();
        assert_eq!(found.len(), expected.len());
        let (mut a, mut b) = (found.clone(), expected.clone());
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b, "the same bytes in another order of the inputs");
    }

    #[test]
    fn log_probs_of_a_real_server_are_read() {
        let body = decoded(recorded("forward_future")["response"]["base64"].as_str().expect("one"));
        let rows = log_probs(&body).expect("valid");
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [13, 24]);
        assert!(rows.iter().flatten().all(|value| (-12.0..0.0).contains(value)));
        for n in 0..body.len() {
            // A message that is cut off is an error or has fewer rows, and never a panic.
            if let Ok(fewer) = log_probs(&body[..n]) {
                assert!(fewer.len() < rows.len());
            }
        }
    }

    #[test]
    fn samples_of_a_real_server_are_read() {
        let body =
            decoded(recorded("sample_base_future")["response"]["base64"].as_str().expect("one"));
        let samples = samples(&body).expect("valid");
        assert_eq!(samples.len(), 3);
        for sample in &samples {
            assert_eq!((sample.tokens.len(), sample.log_probs.len(), sample.is_cut), (6, 6, true));
            assert!(sample.log_probs.iter().all(|value| (-12.0..0.0).contains(value)));
            assert!(sample.tokens.iter().all(|&token| token < 512));
        }
    }
}
