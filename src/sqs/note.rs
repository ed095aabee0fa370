//! The attributes that redrive adds to a dead letter, the most important first.

/// The reason of the outcome, or the last error.
pub const REASON: &str = "redrive.reason";
/// The handler's error with its causes.
pub const ERROR: &str = "redrive.error";
/// The message's receive count. In the dead-letter queue SQS counts from the beginning.
pub const RECEIVE_COUNT: &str = "redrive.receive_count";
/// The ARN of the queue that the message came from.
pub const SOURCE: &str = "redrive.source";
/// The message id in that queue. SQS assigns a new one.
pub const MESSAGE_ID: &str = "redrive.message_id";
/// The sender's deduplication id of a FIFO queue's message.
pub const DEDUPLICATION_ID: &str = "redrive.deduplication_id";
/// When the producer sent it, in milliseconds since 1970. SQS keeps this time only when it moves a message itself.
pub const SENT_TIMESTAMP: &str = "redrive.sent_timestamp";
/// The function that sent it to the dead-letter queue.
pub const FUNCTION: &str = "redrive.function";

/// All of these attributes.
pub const ALL: [&str; 8] =
    [REASON, ERROR, RECEIVE_COUNT, SOURCE, MESSAGE_ID, DEDUPLICATION_ID, SENT_TIMESTAMP, FUNCTION];
