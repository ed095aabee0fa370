//! Matches text with `*` for any number of characters, including zero.

/// The pieces between the stars. A single piece means a text without a star.
#[derive(Debug)]
pub(super) struct Wildcard {
    pieces: Vec<String>,
}

impl Wildcard {
    /// # Errors
    ///
    /// Returns an error for two stars in a row, and for a backslash before any character except a star or a backslash.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pieces = vec![String::new()];
        let mut chars = text.chars();
        let mut after_star = false;
        while let Some(next) = chars.next() {
            let is_star = next == '*';
            let literal = match next {
                '*' if after_star => return Err("two * in a row; use one, which matches the same texts"),
                '*' => None,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => Some(escaped),
                    _ => return Err(r"a backslash escapes only * and \; write \\ for a backslash"),
                },
                other => Some(other),
            };
            match (literal, pieces.last_mut()) {
                (Some(literal), Some(piece)) => piece.push(literal),
                _ => pieces.push(String::new()),
            }
            after_star = is_star;
        }
        Ok(Self { pieces })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return self.pieces.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        // The first fitting position of a piece leaves the most text for the later pieces.
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_number_of_characters() {
        let rows = [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*c", "cb", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("*lib*", "/usr/lib/x", true),
            ("*lib*", "/usr/x", false),
            ("a*b*c*d", "a-b-b-c-c-d", true),
            ("a*b*c*d", "a-c-b-d", false),
            ("*ab", "aab", true),
            ("ä*ü", "äöü", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(Wildcard::parse(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn backslash_escapes_a_star() {
        assert!(Wildcard::parse(r"a\*b").unwrap().matches("a*b"));
        assert!(!Wildcard::parse(r"a\*b").unwrap().matches("axb"));
        assert!(Wildcard::parse(r"a\\*").unwrap().matches(r"a\b"));
        assert!(Wildcard::parse(r"*\**").unwrap().matches("x*y"));
    }

    #[test]
    fn patterns_that_aws_refuses_are_refused() {
        assert!(Wildcard::parse("a**b").unwrap_err().contains("two *"));
        assert!(Wildcard::parse(r"a\b").unwrap_err().contains("backslash"));
        assert!(Wildcard::parse(r"a\").unwrap_err().contains("backslash"));
    }
}
