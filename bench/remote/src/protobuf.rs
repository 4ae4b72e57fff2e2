//! The protobuf messages of the Tinker API from the server's side: requests are read and answers are
//! written, the opposite of what `gratis-remote` does, so neither is tested against itself.

/// One sequence of a request for a pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    /// The tokens before the last.
    pub(crate) input: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    /// Inputs of the loss by name.
    pub(crate) inputs: Vec<(String, Vec<f32>)>,
}

impl Datum {
    pub(crate) fn input_of_loss(&self, name: &str) -> Option<&[f32]> {
        let found = self.inputs.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| &values[..])
    }
}

/// A request for a forward or a backward pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pass {
    pub(crate) model_id: String,
    pub(crate) seq_id: u64,
    pub(crate) data: Vec<Datum>,
    pub(crate) loss: String,
    pub(crate) is_forward_only: bool,
}

/// The fields of a message: numbers, and the bytes of everything else.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, u64, &[u8])>> {
    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, content) = match key & 7 {
            0 => (varint(&mut bytes)?, &[][..]),
            2 => {
                let n = varint(&mut bytes)? as usize;
                let (content, rest) = bytes.split_at_checked(n)?;
                bytes = rest;
                (0, content)
            }
            _ => return None,
        };
        found.push((key >> 3, number, content));
    }
    Some(found)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a `ForwardBackwardRequest`.
pub(crate) fn read_pass(body: &[u8]) -> Option<Pass> {
    let mut pass = Pass::default();
    for (field, number, content) in fields(body)? {
        match field {
            1 => pass.model_id = text(content),
            2 => pass.seq_id = number,
            3 => pass.data.push(read_datum(content)?),
            4 => pass.loss = text(content),
            6 => pass.is_forward_only = number == 1,
            _ => return None,
        }
    }
    Some(pass)
}

fn read_datum(bytes: &[u8]) -> Option<Datum> {
    let mut datum = Datum { input: Vec::new(), targets: Vec::new(), inputs: Vec::new() };
    for (field, _, content) in fields(bytes)? {
        if field == 1 {
            let chunk = fields(content)?.first()?.2;
            let (words, _) = fields(chunk)?.first()?.2.as_chunks::<4>();
            datum.input = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
            continue;
        }
        let entry = fields(content)?;
        let name = text(entry.iter().find(|entry| entry.0 == 1)?.2);
        let tensor = fields(entry.iter().find(|entry| entry.0 == 2)?.2)?;
        let dense = tensor.iter().find(|field| field.0 == 1)?.2;
        if name == "target_tokens" {
            let (words, _) = dense.as_chunks::<8>();
            datum.targets = words.iter().map(|&word| i64::from_le_bytes(word) as u32).collect();
        } else {
            let (words, _) = dense.as_chunks::<4>();
            let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
            datum.inputs.push((name, values));
        }
    }
    Some(datum)
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn number(field: u64, value: u64, into: &mut Vec<u8>) {
    varint(field << 3, into);
    varint(value, into);
}

fn bytes(field: u64, value: &[u8], into: &mut Vec<u8>) {
    varint(field << 3 | 2, into);
    varint(value.len() as u64, into);
    into.extend_from_slice(value);
}

/// A `ForwardBackwardOutput` with a record per row, as SkyRL writes it.
pub(crate) fn write_log_probs(rows: &[Vec<f32>]) -> Vec<u8> {
    let mut message = Vec::new();
    bytes(1, b"scalar", &mut message);
    let mut record = Vec::new();
    let data: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let mut end = 0_u64;
    let ends = std::iter::once(0).chain(rows.iter().map(|row| {
        end += 4 * row.len() as u64;
        end
    }));
    let offsets: Vec<u8> = ends.flat_map(u64::to_le_bytes).collect();
    let mut tensor = Vec::new();
    bytes(1, &data, &mut tensor);
    bytes(2, &offsets, &mut tensor);
    number(3, 1, &mut tensor);
    let mut entry = Vec::new();
    bytes(1, b"logprobs", &mut entry);
    bytes(2, &tensor, &mut entry);
    bytes(2, &entry, &mut record);
    number(3, rows.len() as u64, &mut record);
    bytes(2, &record, &mut message);
    message
}

/// A `SampleResponse` with one sequence.
pub(crate) fn write_sample(tokens: &[u32], log_probs: &[f32], is_cut: bool) -> Vec<u8> {
    let mut sequence = Vec::new();
    number(1, u64::from(is_cut), &mut sequence);
    let ids: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    bytes(2, &ids, &mut sequence);
    let values: Vec<u8> = log_probs.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes(3, &values, &mut sequence);
    let mut message = Vec::new();
    bytes(1, &sequence, &mut message);
    message
}
