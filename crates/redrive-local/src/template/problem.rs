//! Where in a template something is, and what is wrong there.

use std::fmt;

/// A place in the text of a template, as editors count: from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// What keeps a template from being read: what was found at a place, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub text: String,
}

impl Problem {
    pub fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into() }
    }

    pub fn of_file(self, file: &str) -> TemplateError {
        TemplateError { file: file.to_owned(), problem: self }
    }
}

/// A problem, and the file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    file: String,
    problem: Problem,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.problem.place;
        write!(f, "{}:{line}:{column}: {}", self.file, self.problem.text)
    }
}

impl std::error::Error for TemplateError {}
