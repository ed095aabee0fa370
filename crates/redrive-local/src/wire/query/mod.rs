//! Speaks the Query protocol, which SDKs used before AWS JSON: a call is a form, and its answer is XML.
//!
//! A form is rewritten as a call of the JSON protocol, and the answer as XML. So a call has one meaning, whatever its
//! spelling. The Query protocol has other names for lists and maps; `names` has all of them.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-xml.html>

mod form;
mod names;
mod xml;

pub(crate) use self::form::FormCall;
pub(crate) use self::xml::to_xml;

pub(crate) const CONTENT_TYPE: &str = "text/xml";
/// The content type of a call.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
