//! Describes errors in a template and their places.

use std::fmt;

/// A place in the text of a template. Lines and columns start at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// An error in a template: the place, the finding, and what to do.
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

/// An error in a template, with the file's name.
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
