//! ClickHouse's own compressed frames (`compress=1`, `decompress=1`): CityHash128 of what follows, method, both lengths, data.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::DbError;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
/// As ClickHouse's own limit (DBMS_MAX_COMPRESSED_SIZE).
const MAX_FRAME_BYTES: usize = 0x4000_0000;
/// Output is cut into frames of this size before it is compressed.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Takes frames apart that arrive in pieces.
#[derive(Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The content of the next frame, once it is there as a whole.
    pub fn next(&mut self) -> Result<Option<Bytes>, DbError> {
        if self.buffer.len() < CHECKSUM_BYTES + HEADER_BYTES {
            return Ok(None);
        }
        let mut meta = &self.buffer[..CHECKSUM_BYTES + HEADER_BYTES];
        let checksum = meta.get_u128_le();
        let method = meta.get_u8();
        let compressed = meta.get_u32_le() as usize;
        let uncompressed = meta.get_u32_le() as usize;
        if !(HEADER_BYTES..=MAX_FRAME_BYTES).contains(&compressed) || uncompressed > MAX_FRAME_BYTES {
            return Err(DbError::of(
                246,
                "CORRUPTED_DATA",
                "a compressed frame states an impossible size",
            ));
        }
        if self.buffer.len() < CHECKSUM_BYTES + compressed {
            return Ok(None);
        }
        self.buffer.advance(CHECKSUM_BYTES);
        let frame = self.buffer.split_to(compressed);
        if checksum_of(&frame) != checksum {
            return Err(DbError::of(
                40,
                "CHECKSUM_DOESNT_MATCH",
                "Checksum doesn't match: corrupted data",
            ));
        }
        let data = &frame[HEADER_BYTES..];
        match method {
            METHOD_NONE => Ok(Some(Bytes::copy_from_slice(data))),
            METHOD_LZ4 => match lz4_flex::block::decompress(data, uncompressed) {
                Ok(content) if content.len() == uncompressed => Ok(Some(content.into())),
                _ => Err(DbError::of(271, "CANNOT_DECOMPRESS", "Cannot decompress LZ4 data")),
            },
            other => Err(DbError::of(
                89,
                "UNKNOWN_COMPRESSION_METHOD",
                &format!("Unknown compression method: {other:#04x}; LZ4 (0x82) and none (0x02) are understood"),
            )),
        }
    }

    /// Refuses a body that ended inside a frame.
    pub fn finish(&self) -> Result<(), DbError> {
        match self.buffer.len() {
            0 => Ok(()),
            rest => Err(DbError::of(
                33,
                "CANNOT_READ_ALL_DATA",
                &format!("the body ended inside a compressed frame ({rest} bytes left over)"),
            )),
        }
    }
}

/// `data` as LZ4 frames.
pub fn compress(data: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    for block in data.chunks(BLOCK_BYTES) {
        let compressed = lz4_flex::block::compress(block);
        let mut frame = BytesMut::with_capacity(HEADER_BYTES + compressed.len());
        frame.put_u8(METHOD_LZ4);
        frame.put_u32_le((HEADER_BYTES + compressed.len()) as u32);
        frame.put_u32_le(block.len() as u32);
        frame.extend_from_slice(&compressed);
        out.put_u128_le(checksum_of(&frame));
        out.extend_from_slice(&frame);
    }
    out.freeze()
}

/// ClickHouse writes the high half of the hash first.
fn checksum_of(frame: &[u8]) -> u128 {
    cityhash_rs::cityhash_102_128(frame).rotate_right(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_pieces(frames: &[u8], piece: usize) -> Result<Vec<u8>, DbError> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for bytes in frames.chunks(piece) {
            decoder.push(bytes);
            while let Some(content) = decoder.next()? {
                out.extend_from_slice(&content);
            }
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn frames_survive_both_ways_however_they_are_cut() {
        let data: Vec<u8> = (0..2_500_000u32).map(|i| (i / 7 % 251) as u8).collect();
        let frames = compress(&data);
        assert!(frames.len() < data.len() / 2);
        for piece in [7_919, 1 << 20, frames.len()] {
            assert_eq!(decode_in_pieces(&frames, piece).unwrap(), data);
        }
    }

    #[test]
    fn a_damaged_or_cut_frame_is_refused_with_clickhouses_code() {
        let frames = compress(b"twelve bytes");
        let mut damaged = frames.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(decode_in_pieces(&damaged, 64).unwrap_err().code, 40);
        assert_eq!(decode_in_pieces(&frames[..frames.len() - 1], 64).unwrap_err().code, 33);
    }
}
