//! SQS as a state machine: no I/O, no clock of its own, no randomness of its own.
//!
//! [`Account`] has all queues. Each call is a method of it, in the file of that call, beside the request and the answer
//! in the form that they have on the wire; each is told what time it is. A queue's messages are in [`store`], and which
//! of them comes next is in [`order`].

mod account;
mod attempt;
mod attribute;
mod batch;
mod deduplication;
mod error;
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
pub use self::batch::{BatchResult, Failed};
pub use self::error::{Code, SqsError};
pub use self::message::Message;
pub use self::message::check_body;
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
