//! Describes errors of patterns and their paths.

use std::fmt;

/// A pattern that AWS would refuse.
#[derive(Debug)]
pub enum PatternError {
    TooMany { found: usize, most: usize },
    TooLong { index: usize, chars: usize, most: usize },
    NotJson { index: usize, error: String },
    Wrong { path: PatternPath, problem: String },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { found, most } => {
                write!(f, "there are {found} filter patterns, but AWS accepts at most {most}; join some with $or")
            }
            Self::TooLong { index, chars, most } => {
                write!(f, "filter pattern {} has {chars} characters, but AWS accepts at most {most}", index + 1)
            }
            Self::NotJson { index, error } => {
                write!(f, "filter pattern {} is not JSON ({error}); use a pattern like {EXAMPLE}", index + 1)
            }
            Self::Wrong { path, problem } => write!(f, "{path}: {problem}"),
        }
    }
}

const EXAMPLE: &str = r#"{"body":{"kind":["order"]}}"#;

impl std::error::Error for PatternError {}

/// The path of a part of a pattern. `Display` writes it for a user.
#[derive(Clone, Debug)]
pub struct PatternPath {
    index: usize,
    path: String,
}

impl PatternPath {
    pub(super) fn root(index: usize) -> Self {
        Self { index, path: String::new() }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        Self { index: self.index, path: format!("{}{separator}{name}", self.path) }
    }

    pub(super) fn item(&self, position: usize) -> Self {
        Self { index: self.index, path: format!("{}[{position}]", self.path) }
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> PatternError {
        PatternError::Wrong { path: self.clone(), problem: problem.into() }
    }
}

impl fmt::Display for PatternPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "filter pattern {}", self.index + 1),
            path => write!(f, "filter pattern {}, at {path}", self.index + 1),
        }
    }
}
