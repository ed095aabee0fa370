//! The whole message.

use aws_lambda_events::sqs::SqsMessage;

use super::json::parse;
use super::{FromRecord, Rejection};
use crate::record::Record;

/// The whole message, as the type that `aws_lambda_events` has for it.
///
/// ```
/// use redrive::Message;
///
/// async fn forward(Message(message): Message) {
///     println!("{:?} from {:?}", message.message_id, message.event_source_arn);
/// }
/// # let _ = redrive::handler(forward);
/// ```
///
/// This parses all of the record, so any oddity in it rejects it. The other extractors look only at what they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(pub SqsMessage);

impl<S: Sync> FromRecord<S> for Message {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let (json, body) = record.in_parts();
        let mut message: SqsMessage = parse(json, "message")?;
        if let Some(body) = body {
            message.body = Some(body.to_owned());
        }
        Ok(Self(message))
    }
}
