//! The attributes that a dead letter has from us, in the order in which they are kept where there is no room for all.

/// What the outcome said, or the last error.
pub const REASON: &str = "redrive.reason";
/// The error of the handler, with its causes.
pub const ERROR: &str = "redrive.error";
/// Which receive of the message this was. In the dead-letter queue it counts from the beginning.
pub const RECEIVE_COUNT: &str = "redrive.receive_count";
/// The ARN of the queue that it was received from.
pub const SOURCE: &str = "redrive.source";
/// The id that it had there. SQS gives it a new one.
pub const MESSAGE_ID: &str = "redrive.message_id";
/// Of a FIFO queue's message: the id of its sender.
pub const DEDUPLICATION_ID: &str = "redrive.deduplication_id";
/// When its producer sent it, in milliseconds since 1970. SQS keeps that where it moves a message itself.
pub const SENT_TIMESTAMP: &str = "redrive.sent_timestamp";
/// Who sent it to the dead-letter queue.
pub const FUNCTION: &str = "redrive.function";

/// All of them.
pub const ALL: [&str; 8] =
    [REASON, ERROR, RECEIVE_COUNT, SOURCE, MESSAGE_ID, DEDUPLICATION_ID, SENT_TIMESTAMP, FUNCTION];
