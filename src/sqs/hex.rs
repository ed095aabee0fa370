//! Formats numbers with hexadecimal digits.

/// Formats all digits. The standard formatter is slow for 128 bits, compared with the rest of a message's work.
pub fn hex(number: u128) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (two, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *two = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
    }
    // The digits are ASCII, so nothing is lost.
    String::from_utf8_lossy(&digits).into_owned()
}

/// Formats a number with the hyphens of a UUID.
pub fn uuid(number: u128) -> String {
    let mut text = hex(number);
    [8, 13, 18, 23].into_iter().for_each(|place| text.insert(place, '-'));
    text
}

/// Parses a UUID in the format of [`uuid`].
#[cfg(feature = "worker")]
pub fn number_of_uuid(id: &str) -> Option<u128> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let add = |number: u128, (place, byte)| match (place, byte) {
        (8 | 13 | 18 | 23, b'-') => Some(number),
        (8 | 13 | 18 | 23, _) => None,
        (_, byte) => Some(number << 4 | u128::from(digit(byte)?)),
    };
    if id.len() == 36 { id.bytes().enumerate().try_fold(0, add) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_matches_the_standard_formatter() {
        for number in [0, 1, 0xabc << 64, u128::MAX, u128::MAX / 7] {
            assert_eq!(hex(number), format!("{number:032x}"));
        }
    }
}
