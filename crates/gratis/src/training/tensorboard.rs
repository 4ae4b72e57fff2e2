//! Scalars as a TensorBoard event file: records of `tf.Event` messages with checksums.
//!
//! A record is its length (8 bytes, little endian), the checksum of the length, the message, and the
//! checksum of the message. An event has the time (field 1, double), the step (2), and either the
//! version of the file (3) or a summary (5), whose values (1) have a tag (1) and a number (2, float).

/// The version that the first event of a file gives.
const VERSION: &str = "brain.Event:2";

/// The first record of a file.
pub(super) fn header(seconds: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, seconds);
    put_bytes(&mut event, 3, VERSION.as_bytes());
    record(&event)
}

/// The record of one step: `seconds` since 1970, and values with their tags.
pub(super) fn scalars(seconds: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, tag.as_bytes());
        put_key(&mut entry, 2, 5);
        entry.extend((*value as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &entry);
    }
    let mut event = Vec::new();
    put_double(&mut event, 1, seconds);
    put_key(&mut event, 2, 0);
    put_varint(&mut event, step);
    put_bytes(&mut event, 5, &summary);
    record(&event)
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(event);
    record.extend(masked_checksum(event).to_le_bytes());
    record
}

fn put_key(to: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(to, field << 3 | wire_type);
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn put_double(to: &mut Vec<u8>, field: u64, value: f64) {
    put_key(to, field, 1);
    to.extend(value.to_le_bytes());
}

fn put_bytes(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(to, field, 2);
    put_varint(to, bytes.len() as u64);
    to.extend(bytes);
}

/// CRC-32C, rotated and shifted as in TensorFlow's records.
fn masked_checksum(bytes: &[u8]) -> u32 {
    checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a record has a few hundred bytes.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C, and RFC 3720, B.4.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_record_is_that_of_the_tensorboard_package() {
        // tensorboard.compat.proto.event_pb2.Event(wall_time=2.5, step=300, summary=Summary(value=[
        //     Summary.Value(tag="loss", simple_value=0.5)])) through RecordWriter.
        let event: &[u8] = &[
            0x09, 0, 0, 0, 0, 0, 0, 0x04, 0x40, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a,
            0x04, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f,
        ];
        let written = scalars(2.5, 300, &[("loss", 0.5)]);
        assert_eq!(written[..8], (event.len() as u64).to_le_bytes());
        assert_eq!(&written[12..12 + event.len()], event);
        assert_eq!(written.len(), event.len() + 16);
    }
}
