//! The limits that SQS documents.
//!
//! The embedded queue of `local` has its own copies. If both sides shared the numbers, no test could find a wrong one.

/// The limit in bytes of a message, and of all messages of a call together: bodies in UTF-8, and the names, types and
/// values of attributes.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// The lowest `MaximumMessageSize` that a queue can have.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
pub const SMALLEST_SIZE_LIMIT_BYTES: usize = 1_024;

/// The limit of a message's attributes, without system attributes.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
pub const MAX_ATTRIBUTES: usize = 10;

/// The limit of entries in a batch call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html>
pub const MAX_ENTRIES: usize = 10;

/// Returns whether a message may contain this character: those of XML 1.0 are allowed.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
