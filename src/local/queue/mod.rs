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

pub(crate) use self::account::{Account, Happening, QueueId};
pub(crate) use self::batch::{BatchResult, Failed};
pub(crate) use self::error::{Code, SqsError};
pub(crate) use self::message::Message;
#[cfg(feature = "cli")]
pub(crate) use self::message::check_body;
pub(crate) use self::move_task::{ListMessageMoveTasks, StartMessageMoveTask, TaskHandle};
pub(crate) use self::permission::{AddPermission, RemovePermission};
pub(crate) use self::queue_attributes::{GetQueueAttributes, SetQueueAttributes};
pub(crate) use self::queues::{CreateQueue, GetQueueUrl, ListDeadLetterSourceQueues, ListQueues, OfQueue};
pub(crate) use self::receive::{ReceiveMessage, Received};
pub(crate) use self::send::{SendMessage, SendMessageBatch};
pub(crate) use self::settle::{ChangeMessageVisibility, DeleteMessage, SettleBatch};
pub(crate) use self::tag::{TagQueue, UntagQueue};
pub(crate) use self::time::Time;
