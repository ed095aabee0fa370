//! Where the bytes are that are special in a string: a quote, a backslash or a control character.

/// Where the next special byte is, from there on.
///
/// Eight bytes at a time: for one short string, which is over before a search with wider steps has begun.
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

/// Whether there is a special byte at all.
#[cfg(any(feature = "local", feature = "worker"))]
#[cfg(feature = "local")]
pub(super) fn has_special(bytes: &[u8]) -> bool {
    let found = |word: &[u8; 8]| lowest_special(u64::from_le_bytes(*word));
    match bytes.last_chunk() {
        // All words are looked at, without a branch between them. What is behind the last whole one is in the last eight bytes.
        Some(last) => bytes.as_chunks().0.iter().fold(found(last), |all, word| all | found(word)) != 0,
        None => bytes.iter().any(|&byte| is_special(byte)),
    }
}

/// A long text, for who asks for one special byte after the other.
///
/// A block of it is looked at as a whole, and remembered. Else each search would have to wait for the place where the one
/// before it ended, and with a string of some ten bytes behind the other that was most of the time.
pub(super) struct Text<'a> {
    pub(super) str: &'a str,
    /// Where the block begins that was looked at last.
    block: usize,
    /// A bit for each of its bytes, the first one lowest.
    specials: u64,
}

const BLOCK_BYTES: usize = u64::BITS as usize;

impl<'a> Text<'a> {
    pub(super) fn new(str: &'a str) -> Self {
        // No block begins there.
        Self { str, block: usize::MAX, specials: 0 }
    }

    /// Where the next special byte is, from there on.
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

/// A bit for each byte that is special. Not inlined: on its own the compiler makes vectors of it.
#[inline(never)]
fn specials(block: &[u8; BLOCK_BYTES]) -> u64 {
    let ones = block.map(|byte| u8::from(is_special(byte)));
    let eights = ones.as_chunks().0.iter().map(|eight| low_bits(u64::from_le_bytes(*eight)));
    eights.enumerate().fold(0, |bits, (index, eight)| bits | eight << (8 * index))
}

/// The low bits of eight bytes side by side, where their other bits are zero.
///
/// A one in the factor for each byte takes the byte's bit to its place in the highest byte. What else comes of it is
/// below that, and no two in one place, so that nothing is carried.
const fn low_bits(bytes: u64) -> u64 {
    bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Without a branch in it, for those vectors.
const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The high bit of each byte that is special. (Of a byte above such a byte it may be wrong: only the lowest one counts.)
const fn lowest_special(word: u64) -> u64 {
    let quotes = (word ^ each_byte(b'"')).wrapping_sub(each_byte(0x01));
    let backslashes = (word ^ each_byte(b'\\')).wrapping_sub(each_byte(0x01));
    let controls = word.wrapping_sub(each_byte(0x20));
    // Below zero by the subtraction, and not a byte beyond ASCII, which was so before.
    (quotes | backslashes | controls) & !word & each_byte(0x80)
}

const fn each_byte(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All special bytes, each searched for from behind the one before.
    fn all(text: &str) -> Vec<usize> {
        let mut text = Text::new(text);
        let mut found = Vec::new();
        while let Some(at) = text.next_special(found.last().map_or(0, |last| last + 1)) {
            found.push(at);
        }
        found
    }

    #[test]
    fn each_byte_is_special_or_not() {
        for byte in 0..=u8::MAX {
            let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
            for len in [1, 8] {
                assert_eq!(special(&vec![byte; len], 0), is_special.then_some(0), "{byte}");
                #[cfg(any(feature = "local", feature = "worker"))]
                assert_eq!(has_special(&vec![byte; len]), is_special, "{byte}");
            }
            assert_eq!(specials(&[byte; BLOCK_BYTES]), if is_special { u64::MAX } else { 0 }, "{byte}");
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for (found, around) in [('"', '!'), ('\\', ']'), ('\0', ' '), ('\u{1f}', '€')] {
            let text = String::from_iter([around; 2 * BLOCK_BYTES + 9]);
            for at in (0..text.len()).step_by(around.len_utf8()) {
                let mut text = text.clone();
                text.insert(at, found);
                #[cfg(any(feature = "local", feature = "worker"))]
                assert!(has_special(text.as_bytes()), "{found:?} at {at}");
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
        fn none_is_left_out_and_none_is_made_up(text in "[\"\\\\\u{0}\u{1f} !\\[\\]\u{7f}é]{0,300}") {
            let is_special = |&(_, byte): &(usize, u8)| matches!(byte, b'"' | b'\\' | 0..0x20);
            let expected: Vec<_> = text.bytes().enumerate().filter(is_special).map(|(at, _)| at).collect();
            #[cfg(any(feature = "local", feature = "worker"))]
            prop_assert_eq!(has_special(text.as_bytes()), !expected.is_empty());
            prop_assert_eq!(all(&text), expected);
        }
    }
}
