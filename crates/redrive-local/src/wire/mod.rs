//! Speaks SQS's wire protocol, AWS JSON 1.0. A request is an operation's name and a JSON object. An answer is a JSON
//! object or an error. `query` translates the older protocol.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>

mod answer;
pub(super) mod query;
mod request;

pub(super) use self::answer::Answer;
pub(super) use self::request::Request;

/// The header with the operation's name.
pub(super) const TARGET: &str = "x-amz-target";
/// The header with the caller's trace. SDKs in a Lambda function send it.
pub(super) const TRACE_ID: &str = "x-amzn-trace-id";
/// The header with an error's name in the query protocol. SDKs read it.
pub(super) const QUERY_ERROR: &str = "x-amzn-query-error";
pub(super) const REQUEST_ID: &str = "x-amzn-requestid";
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
