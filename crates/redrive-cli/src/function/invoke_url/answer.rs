//! Interprets the answer of an invoke endpoint: an answer of the function, or one of several errors.

use axum::body::Bytes;
use axum::http::{Response, StatusCode};
use redrive_local::function::ErrorReport;
use serde_json::Value;

use super::url::InvokeTarget;
use crate::function::FunctionError;
use crate::function::error_report::{read_report, report_of};

/// The header of AWS and SAM for an error of the function in an answer with status 200.
const FUNCTION_ERROR: &str = "x-amz-function-error";

pub(super) fn read_answer(response: Response<Bytes>, target: &InvokeTarget) -> Result<Bytes, FunctionError> {
    let is_function_error = response.headers().contains_key(FUNCTION_ERROR);
    let (status, body) = (response.status(), response.into_body());
    if is_function_error {
        return Err(FunctionError::Raised(report_of(&body)));
    }
    match status {
        StatusCode::OK => match init_error(&body) {
            Some(report) => Err(FunctionError::InitFailedThere(report)),
            None => Ok(body),
        },
        StatusCode::NOT_FOUND => {
            Err(FunctionError::UnknownFunction { name: target.function.clone(), address: target.address() })
        }
        // `cargo lambda watch` ends an invocation at its own `--timeout`.
        StatusCode::REQUEST_TIMEOUT => Err(FunctionError::TimedOutThere { address: target.address() }),
        StatusCode::TOO_MANY_REQUESTS => Err(FunctionError::Throttled),
        status => Err(read_report(&body).map_or_else(
            || FunctionError::UnexpectedStatus { status: status.as_u16(), address: target.address() },
            FunctionError::Raised,
        )),
    }
}

/// Detects a failed start. `cargo lambda watch` then answers with status 200. As an answer of a batch function without
/// failures, such a body would delete the whole batch.
fn init_error(body: &[u8]) -> Option<ErrorReport> {
    let report = read_report(body)?;
    let answers: Value = serde_json::from_slice(body).ok()?;
    answers.get("batchItemFailures").is_none().then_some(report)
}
