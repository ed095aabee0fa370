//! Builds HTTP answers.

use serde::Serialize;
use serde_json::{Value, json};

use crate::queue::{BatchResultErrorEntry, Code, SqsError};

/// An answer, ready for HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The value of the header [`super::QUERY_ERROR`] in an error.
    pub(crate) query_error: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of<T: Serialize>(result: Result<T, SqsError>) -> Self {
        let body = result.and_then(|answer| {
            serde_json::to_vec(&answer).map_err(|error| SqsError::new(Code::InternalFailure, error.to_string()))
        });
        match body {
            Ok(body) => Self { status: 200, query_error: None, body },
            Err(error) => Self::error(&error),
        }
    }

    pub(crate) fn refused(error: SqsError) -> Self {
        Self::error(&error)
    }

    fn error(SqsError { code, message }: &SqsError) -> Self {
        let fault = if code.status() < 500 { "Sender" } else { "Receiver" };
        Self {
            status: code.status(),
            query_error: Some(format!("{};{fault}", code.query_code())),
            body: json!({"__type": code.shape(), "message": message}).to_string().into_bytes(),
        }
    }

    /// Adds failed entries to the answer of a batch call.
    pub(crate) fn with_failed(mut self, failed: &[BatchResultErrorEntry]) -> Self {
        let answer = serde_json::from_slice::<Value>(&self.body).ok().filter(|_| self.status == 200);
        if let Some(mut answer) = answer
            && let Some(answer_of_batch) = answer.as_object_mut()
            && let Some(list) = answer_of_batch.entry("Failed").or_insert_with(|| json!([])).as_array_mut()
        {
            list.extend(failed.iter().map(|entry| json!(entry)));
            self.body = answer.to_string().into_bytes();
        }
        self
    }
}
