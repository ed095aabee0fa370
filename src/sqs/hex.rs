//! Formats numbers with hexadecimal digits.

use uuid::Uuid;

/// Formats all digits.
pub fn hex(number: u128) -> String {
    Uuid::from_u128(number).simple().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// Formats a number with the hyphens of a UUID.
pub fn uuid(number: u128) -> String {
    Uuid::from_u128(number).hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// Parses a UUID in the format of [`uuid`].
#[cfg(feature = "worker")]
pub fn number_of_uuid(id: &str) -> Option<u128> {
    // Other forms are ids of their own: they would come back in another form.
    let is_as_written = id.len() == uuid::fmt::Hyphenated::LENGTH && !id.bytes().any(|byte| byte.is_ascii_uppercase());
    Uuid::try_parse(id).ok().filter(|_| is_as_written).map(|id| id.as_u128())
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

    #[cfg(feature = "worker")]
    #[test]
    fn only_a_uuid_as_it_is_written_here_is_a_number() {
        for number in [0, 0xabc << 64, u128::MAX] {
            assert_eq!(number_of_uuid(&uuid(number)), Some(number));
        }
        let id = uuid(0xabc);
        for other in
            [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), String::new()]
        {
            assert_eq!(number_of_uuid(&other), None, "{other}");
        }
    }
}
