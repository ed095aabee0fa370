//! Implements SQS as a state machine, without I/O, a clock or randomness of its own.
//!
//! [`Account`] holds all queues. Each call is a method of `Account`, in a file with the wire form of its request and
//! answer. The caller passes the time. `store` holds a queue's messages, and `order` decides which one comes next.

mod account;
mod attempt;
mod attribute;
mod batch;
mod deduplication;
mod error;
mod fair;
mod group;
mod message;
mod move_task;
mod number;
mod number_attribute;
mod order;
mod permission;
mod queue_attributes;
mod queues;
mod receipt;
mod receive;
mod send;
mod settings;
mod settle;
mod store;
mod tag;
mod time;

pub use self::account::{Account, Happening, QueueId};
pub use self::batch::{BatchResult, BatchResultErrorEntry};
pub use self::error::{Code, SqsError};
pub use self::message::Message;
pub use self::message::{check_body, is_allowed};
pub use self::move_task::{ListMessageMoveTasks, StartMessageMoveTask, TaskHandle};
pub use self::number_attribute::NumberAttribute;
pub use self::permission::{AddPermission, RemovePermission};
pub use self::queue_attributes::{GetQueueAttributes, SetQueueAttributes};
pub use self::queues::{CreateQueue, GetQueueUrl, ListDeadLetterSourceQueues, ListQueues, OfQueue};
pub use self::receive::{ReceiveMessage, Received};
pub use self::send::{SendMessage, SendMessageBatch};
pub use self::settle::{ChangeMessageVisibility, DeleteMessage, SettleBatch};
pub use self::tag::{TagQueue, UntagQueue};
pub use self::time::Time;
