//! Numbers as texts of hexadecimal digits.

/// All of its digits. What the formatter does for a number of 128 bits takes as long as much else that is done for a message.
pub(crate) fn hex(number: u128) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (two, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *two = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
    }
    // They are ASCII, all of them.
    str::from_utf8(&digits).unwrap_or_default().to_owned()
}

/// The same, with the hyphens of a UUID.
#[cfg(any(feature = "local", feature = "worker"))]
pub(crate) fn uuid(number: u128) -> String {
    let mut text = hex(number);
    [8, 13, 18, 23].into_iter().for_each(|place| text.insert(place, '-'));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_formatter_would_write() {
        for number in [0, 1, 0xabc << 64, u128::MAX, u128::MAX / 7] {
            assert_eq!(hex(number), format!("{number:032x}"));
        }
    }
}
