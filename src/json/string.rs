//! The strings of JSON: where they end, and what they say.

use std::borrow::Cow;

use super::JsonError;
use super::special::special;

/// A JSON string without its quotes and escapes; `None` where there is nothing, or `null`.
///
/// # Errors
///
/// Where it is another kind of value, or has half a surrogate pair.
pub(crate) fn text(json: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
    if json.is_empty() || json == "null" {
        return Ok(None);
    }
    let quoted = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    match quoted.and_then(unescape) {
        Some(text) => Ok(Some(text)),
        // The parser knows what to say of it.
        None => Ok(Some(Cow::Owned(serde_json::from_str(json)?))),
    }
}

/// What stands between the quotes of a string, without its escapes. `None` where these are not in order.
pub(super) fn unescape(quoted: &str) -> Option<Cow<'_, str>> {
    // What is found must be a backslash: a quote has one before it, and that is found first.
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

/// The character that an escape stands for, and what comes behind it. The backslash is gone already.
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

/// A character of one UTF-16 unit, or of a pair of them.
fn escaped_unit(digits: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(digits)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, rest))
}

/// The number of four hexadecimal digits.
fn unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, rest) = digits.split_at_checked(4)?;
    // The standard library takes a sign as well.
    let unit = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16))?;
    Some((unit.ok()?, rest))
}

/// Where the escape ends that begins with this backslash.
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
        fn a_text_is_what_the_parser_makes_of_it(text_in in ".*", mask in any::<u32>()) {
            // Some characters escaped as the serialiser does not: by number.
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
        fn an_escape_is_what_the_parser_makes_of_it(escapes in r#"(\\["\\/bfnrtux0-9aD+-]|[a-fD0-9+]|\\u\+?[0-9a-f]{3,4}|\\ud83[dD]\\ude0[0-9]|é){0,12}"#) {
            let json = format!("\"{escapes}\"");
            prop_assert_eq!(text(&json).ok().flatten(), serde_json::from_str::<String>(&json).ok().map(Cow::from));
        }

        #[test]
        fn nonsense_does_not_panic(json in "[\"\\\\u0-9a-fn\u{1}é ]{0,24}") {
            let _ = text(&json);
        }
    }
}
