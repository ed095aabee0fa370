//! What SQS takes of whoever calls it.
//!
//! The embedded queue of `local` has numbers of its own. It is to refuse what SQS refuses, whatever those think who call it:
//! with one number for both, no test could find it wrong.

/// The bytes of a message, and of all messages of a call together: of the body in UTF-8, and of the names, types and values of
/// attributes. <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// The lowest `MaximumMessageSize` that a queue can have.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
pub const SMALLEST_SIZE_LIMIT_BYTES: usize = 1_024;

/// The attributes of a message; those of the system do not count.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
pub const MAX_ATTRIBUTES: usize = 10;

/// The entries of a batch call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html>
pub const MAX_ENTRIES: usize = 10;

/// Whether a message may have this character: those of XML 1.0.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
