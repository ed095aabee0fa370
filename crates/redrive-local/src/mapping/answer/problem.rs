//! Describes problems of an answer as log lines.

use std::fmt;

use super::FailedInvocation;

/// A problem of an answer. `Display` writes the log line.
#[derive(Debug)]
pub enum AnswerProblem {
    /// The answer reports failures, but `ReportBatchItemFailures` is off.
    AnswerIgnored {
        items: usize,
        /// The messages of the batch that the answer reports.
        lost: Vec<String>,
    },
    /// The answer reports failures under a key that Lambda does not read.
    FailuresUnread {
        keys: Vec<String>,
    },
    /// Messages of a group are deleted although an earlier message is retried.
    OrderBroken {
        group: String,
        failed: String,
        later: Vec<String>,
    },
    BatchFailed {
        messages: usize,
        cause: Cause,
    },
    /// The answer is an empty list instead of an object.
    EmptyList,
    UnknownKeys {
        keys: Vec<String>,
    },
    ExtraFields {
        position: usize,
        fields: Vec<String>,
    },
    Repeated {
        position: usize,
        identifier: String,
    },
}

/// The reason for retrying the whole batch. The variants cover the rows of AWS's table and the undocumented answers.
#[derive(Debug)]
pub enum Cause {
    Function(FailedInvocation),
    NotJson(String),
    IdentifierEmpty { position: usize },
    IdentifierNull { position: usize },
    IdentifierMissing { position: usize, fields: Vec<String> },
    IdentifierUnknown { position: usize, identifier: String },
    IdentifierNotText { position: usize, found: &'static str },
    NotAnObject { found: &'static str },
    NotAList { found: &'static str },
    ItemNotAnObject { position: usize, found: &'static str },
}

/// The severity of a [`AnswerProblem`], in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// AWS does not document the answer, but it had no effect.
    Odd,
    BatchFailed,
    OrderBroken,
    MessagesLost,
}

impl AnswerProblem {
    pub fn severity(&self) -> Severity {
        match self {
            Self::AnswerIgnored { .. } | Self::FailuresUnread { .. } => Severity::MessagesLost,
            Self::OrderBroken { .. } => Severity::OrderBroken,
            Self::BatchFailed { .. } => Severity::BatchFailed,
            Self::EmptyList | Self::UnknownKeys { .. } | Self::ExtraFields { .. } | Self::Repeated { .. } => {
                Severity::Odd
            }
        }
    }
}

impl Cause {
    /// Returns whether AWS documents that this cause fails the batch.
    pub fn is_documented(&self) -> bool {
        !matches!(
            self,
            Self::IdentifierNotText { .. }
                | Self::NotAnObject { .. }
                | Self::NotAList { .. }
                | Self::ItemNotAnObject { .. }
        )
    }
}

impl fmt::Display for AnswerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnswerIgnored { items, lost } => write!(
                f,
                "MESSAGES LOST: the answer reports {items} failures, but ReportBatchItemFailures is off, so Lambda \
                 ignores the answer and deletes the whole batch, including: {}; set FunctionResponseTypes to \
                 [ReportBatchItemFailures] on the event source mapping",
                List(lost)
            ),
            Self::FailuresUnread { keys } => write!(
                f,
                "MESSAGES LOST: the answer reports failures under {}, which Lambda does not read, so it deletes the \
                 whole batch; answer {EXAMPLE} at the top level, with this spelling",
                List(keys)
            ),
            Self::OrderBroken { group, failed, later } => write!(
                f,
                "ORDER BROKEN: in message group {} the message {failed} is retried, but Lambda deletes later messages \
                 as done: {}; stop at the first failure of a group, and report that message and the rest of its \
                 group",
                Shortened(group),
                List(later)
            ),
            Self::BatchFailed { messages, cause } => {
                let documented = if cause.is_documented() { "" } else { " (AWS does not document this answer)" };
                write!(f, "the whole batch of {messages} is retried: {cause}{documented}")
            }
            Self::EmptyList => f.write_str(
                "the answer is an empty list, which is treated as success; AWS documents only objects: \
                 answer {\"batchItemFailures\":[]}",
            ),
            Self::UnknownKeys { keys } => write!(
                f,
                "the answer contains {}, but Lambda reads only batchItemFailures; remove the rest",
                List(keys)
            ),
            Self::ExtraFields { position, fields } => write!(
                f,
                "batchItemFailures[{position}] contains {}, but Lambda reads only its itemIdentifier; remove the rest",
                List(fields)
            ),
            Self::Repeated { position, identifier } => write!(
                f,
                "batchItemFailures[{position}] repeats {}, which AWS does not document; name each message once",
                Shortened(identifier)
            ),
        }
    }
}

const EXAMPLE: &str = r#"{"batchItemFailures":[{"itemIdentifier":MESSAGE_ID}]}"#;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(FailedInvocation::Raised(error)) => write!(f, "the function raised an error: {error}"),
            Self::Function(FailedInvocation::TimedOut(after)) => write!(
                f,
                "the function timed out after {after:?}; answer before the deadline, or raise the function's timeout"
            ),
            Self::NotJson(error) => write!(f, "the answer is not JSON ({error}); answer {EXAMPLE} or nothing"),
            Self::IdentifierEmpty { position } => {
                write!(f, "the itemIdentifier of batchItemFailures[{position}] is empty; use the record's messageId")
            }
            Self::IdentifierNull { position } => {
                write!(f, "the itemIdentifier of batchItemFailures[{position}] is null; use the record's messageId")
            }
            Self::IdentifierMissing { position, fields } => write!(
                f,
                "batchItemFailures[{position}] contains no itemIdentifier, but {}; the key is misspelled or missing",
                List(fields)
            ),
            Self::IdentifierUnknown { position, identifier } => write!(
                f,
                "the itemIdentifier of batchItemFailures[{position}] matches no message of the batch: {}; use the \
                 record's messageId",
                Shortened(identifier)
            ),
            Self::IdentifierNotText { position, found } => write!(
                f,
                "the itemIdentifier of batchItemFailures[{position}] is {found}, so it matches no message of the \
                 batch; use the record's messageId"
            ),
            Self::NotAnObject { found } => write!(f, "the answer is {found}; answer {EXAMPLE} or nothing"),
            Self::NotAList { found } => write!(f, "batchItemFailures is {found}; answer {EXAMPLE}"),
            Self::ItemNotAnObject { position, found } => {
                write!(f, "batchItemFailures[{position}] is {found}; answer {EXAMPLE}")
            }
        }
    }
}

/// The limit for listed items. Further items are only counted.
const MAX_LISTED: usize = 10;

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, item) in self.0.iter().take(MAX_LISTED).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Shortened(item))?;
        }
        match self.0.len().checked_sub(MAX_LISTED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// The limit for a shown identifier. A message id has 36 characters; a much longer text may be private.
const MAX_SHOWN_CHARS: usize = 80;

struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}
