//! JSON strings: their ends and their contents.

use std::borrow::Cow;

use super::JsonError;
use super::special::special;

/// Returns the text of a JSON string, or `None` for an empty input or `null`.
///
/// # Errors
///
/// Returns an error for another kind of value, or for half a surrogate pair.
pub(crate) fn text(json: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
    if json.is_empty() || json == "null" {
        return Ok(None);
    }
    let quoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    match quoted.and_then(unescape) {
        Some(text) => Ok(Some(text)),
        // The parser creates the error.
        None => Ok(Some(Cow::Owned(serde_json::from_str(json)?))),
    }
}

/// Resolves the escapes of a string without its quotes. Returns `None` if an escape is invalid.
pub(super) fn unescape(quoted: &str) -> Option<Cow<'_, str>> {
    // The found byte is a backslash: a quote would follow a backslash, which would be found first.
    let Some(first) = special(quoted.as_bytes(), 0) else { return Some(Cow::Borrowed(quoted)) };
    let mut text = String::with_capacity(quoted.len());
    let (mut rest, mut next) = (quoted, Some(first));
    while let Some(escape) = next {
        text.push_str(rest.get(..escape)?);
        let (character, behind) = escaped(rest.get(escape..)?.strip_prefix('\\')?)?;
        text.push(character);
        rest = behind;
        next = special(rest.as_bytes(), 0);
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// Returns the character of an escape, and the text after it. The backslash is removed already.
fn escaped(escape: &str) -> Option<(char, &str)> {
    let (kind, rest) = (*escape.as_bytes().first()?, escape.get(1..)?);
    let character = match kind {
        b'"' | b'\\' | b'/' => kind.into(),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return escaped_unit(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// Returns the character of one UTF-16 unit or of a pair.
fn escaped_unit(digits: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(digits)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, rest))
}

/// Parses four hexadecimal digits.
fn unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, rest) = digits.split_at_checked(4)?;
    // The standard library would accept a sign too.
    let unit = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16))?;
    Some((unit.ok()?, rest))
}

/// Returns the end of the escape that begins with this backslash.
pub(super) fn escape_end(bytes: &[u8], begin: usize) -> Option<usize> {
    match bytes.get(begin + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(begin + 2),
        b'u' => bytes.get(begin + 2..begin + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(begin + 6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_matches_the_parser(text_in in ".*", mask in any::<u32>()) {
            // Some characters are escaped by number, unlike the serializer's output.
            let escape = |(index, character): (usize, char)| match mask >> (index % 32) & 1 {
                1 => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                _ => serde_json::to_string(&character).unwrap().trim_matches('"').to_owned(),
            };
            let json: String = text_in.replace('"', "'").chars().enumerate().map(escape).collect();
            let json = format!("\"{json}\"");
            let parsed: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(text(&json).unwrap().unwrap(), parsed);
        }

        #[test]
        fn escape_matches_the_parser(escapes in r#"(\\["\\/bfnrtux0-9aD+-]|[a-fD0-9+]|\\u\+?[0-9a-f]{3,4}|\\ud83[dD]\\ude0[0-9]|é){0,12}"#) {
            let json = format!("\"{escapes}\"");
            prop_assert_eq!(text(&json).ok().flatten(), serde_json::from_str::<String>(&json).ok().map(Cow::from));
        }

        #[test]
        fn invalid_text_does_not_panic(json in "[\"\\\\u0-9a-fn\u{1}é ]{0,24}") {
            let _ = text(&json);
        }
    }
}
