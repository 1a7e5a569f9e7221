//! MurmurHash3, the two variants the service uses, with seed 0.

/// Reads up to eight bytes as a little-endian number.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// `MurmurHash3_x86_32`.
pub(super) fn x86_32(data: &[u8]) -> u32 {
    fn scramble(block: &[u8]) -> u32 {
        // At most four bytes.
        #[allow(clippy::cast_possible_truncation)]
        let block = little_endian(block) as u32;
        block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }
    let mut hash = 0_u32;
    let blocks = data.chunks_exact(4);
    let tail = blocks.remainder();
    for block in blocks {
        hash = (hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        hash ^= scramble(tail);
    }
    // The algorithm takes the length modulo 2^32.
    #[allow(clippy::cast_possible_truncation)]
    let length = data.len() as u32;
    hash ^= length;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// `MurmurHash3_x64_128`, low half first.
pub(super) fn x64_128(data: &[u8]) -> [u64; 2] {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    fn first(block: &[u8]) -> u64 {
        little_endian(block).wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
    }
    fn second(block: &[u8]) -> u64 {
        little_endian(block).wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
    }
    fn finish(mut half: u64) -> u64 {
        half = (half ^ half >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        half = (half ^ half >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        half ^ half >> 33
    }

    let (mut low, mut high) = (0_u64, 0_u64);
    let blocks = data.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        low = (low ^ first(&block[..8])).rotate_left(27).wrapping_add(high);
        low = low.wrapping_mul(5).wrapping_add(0x52dc_e729);
        high = (high ^ second(&block[8..])).rotate_left(31).wrapping_add(low);
        high = high.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (left, right) = tail.split_at(tail.len().min(8));
    high ^= second(right);
    low ^= first(left);

    let length = data.len() as u64;
    low ^= length;
    high ^= length;
    low = low.wrapping_add(high);
    high = high.wrapping_add(low);
    low = finish(low);
    high = finish(high);
    low = low.wrapping_add(high);
    high = high.wrapping_add(low);
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length of the last block, against an independent implementation.
    #[test]
    fn agrees_with_mur3() {
        let data: Vec<u8> = (0..=255_u8).map(|i| i.wrapping_mul(151).wrapping_add(43)).collect();
        for length in 0..=data.len() {
            let part = &data[..length];
            assert_eq!(x86_32(part), mur3::murmurhash3_x86_32(part, 0), "{length}");
            assert_eq!(<(u64, u64)>::from(x64_128(part)), mur3::murmurhash3_x64_128(part, 0), "{length}");
        }
    }
}
