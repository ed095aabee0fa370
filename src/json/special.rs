//! Finds the special bytes of a string: quotes, backslashes and control characters.

/// Returns the position of the next special byte.
///
/// It reads eight bytes at a time. A short string would end before a search with wider steps starts.
#[inline(always)]
pub(super) fn special(bytes: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = lowest_special(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let found = bytes.get(at..)?.iter().position(|&byte| is_special(byte))?;
    Some(at + found)
}

/// A long text for successive searches.
///
/// Each block is checked once as a whole, and the result is kept. Otherwise each search would wait for the end of the
/// previous one, which took most of the time with strings of about ten bytes.
pub(super) struct Text<'a> {
    pub(super) str: &'a str,
    /// The start of the block that was checked last.
    block: usize,
    /// A bit for each of its bytes, the lowest for the first byte.
    specials: u64,
}

const BLOCK_BYTES: usize = u64::BITS as usize;

impl<'a> Text<'a> {
    pub(super) fn new(str: &'a str) -> Self {
        // No block starts at this position.
        Self { str, block: usize::MAX, specials: 0 }
    }

    /// Returns the position of the next special byte.
    #[inline(always)]
    pub(super) fn next_special(&mut self, begin: usize) -> Option<usize> {
        let bytes = self.str.as_bytes();
        let mut at = begin;
        loop {
            let block = at / BLOCK_BYTES * BLOCK_BYTES;
            if block != self.block {
                let Some(block_bytes) = bytes.get(block..).and_then(|rest| rest.first_chunk()) else {
                    return special(bytes, at);
                };
                (self.block, self.specials) = (block, specials(block_bytes));
            }
            let rest = self.specials >> (at % BLOCK_BYTES);
            if rest != 0 {
                return Some(at + rest.trailing_zeros() as usize);
            }
            at = block + BLOCK_BYTES;
        }
    }
}

/// Returns a bit for each special byte. It is not inlined, because the compiler vectorizes it only on its own.
#[inline(never)]
fn specials(block: &[u8; BLOCK_BYTES]) -> u64 {
    let ones = block.map(|byte| u8::from(is_special(byte)));
    let eights = ones.as_chunks().0.iter().map(|eight| low_bits(u64::from_le_bytes(*eight)));
    eights.enumerate().fold(0, |bits, (index, eight)| bits | eight << (8 * index))
}

/// Gathers the low bits of eight bytes whose other bits are zero.
///
/// One bit of the factor for each byte moves that byte's bit to its place in the highest byte. All other products are
/// below, each in its own place, so nothing carries.
const fn low_bits(bytes: u64) -> u64 {
    bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// This has no branch, so that the compiler can vectorize it.
const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Sets the high bit of each special byte. Bytes above a special byte may be wrong, but only the lowest one counts.
const fn lowest_special(word: u64) -> u64 {
    let quotes = (word ^ each_byte(b'"')).wrapping_sub(each_byte(0x01));
    let backslashes = (word ^ each_byte(b'\\')).wrapping_sub(each_byte(0x01));
    let controls = word.wrapping_sub(each_byte(0x20));
    // The subtraction made it negative, and it is an ASCII byte, which was not negative before.
    (quotes | backslashes | controls) & !word & each_byte(0x80)
}

const fn each_byte(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all special bytes, each search starting after the previous result.
    fn all(text: &str) -> Vec<usize> {
        let mut text = Text::new(text);
        let mut found = Vec::new();
        while let Some(at) = text.next_special(found.last().map_or(0, |last| last + 1)) {
            found.push(at);
        }
        found
    }

    #[test]
    fn every_byte_is_classified() {
        for byte in 0..=u8::MAX {
            let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
            for len in [1, 8] {
                assert_eq!(special(&vec![byte; len], 0), is_special.then_some(0), "{byte}");
            }
            assert_eq!(specials(&[byte; BLOCK_BYTES]), if is_special { u64::MAX } else { 0 }, "{byte}");
        }
    }

    #[test]
    fn special_byte_is_found_at_any_position() {
        for (found, around) in [('"', '!'), ('\\', ']'), ('\0', ' '), ('\u{1f}', '€')] {
            let text = String::from_iter([around; 2 * BLOCK_BYTES + 9]);
            for at in (0..text.len()).step_by(around.len_utf8()) {
                let mut text = text.clone();
                text.insert(at, found);
                for begin in 0..=text.len() {
                    let expected = (begin <= at).then_some(at);
                    assert_eq!(special(text.as_bytes(), begin), expected, "{found:?} at {at} from {begin}");
                    assert_eq!(Text::new(&text).next_special(begin), expected, "{found:?} at {at} from {begin}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn all_special_bytes_are_found_and_no_others(text in "[\"\\\\\u{0}\u{1f} !\\[\\]\u{7f}é]{0,300}") {
            let is_special = |&(_, byte): &(usize, u8)| matches!(byte, b'"' | b'\\' | 0..0x20);
            let expected: Vec<_> = text.bytes().enumerate().filter(is_special).map(|(at, _)| at).collect();
            prop_assert_eq!(all(&text), expected);
        }
    }
}
