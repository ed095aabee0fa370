//! A message between the transaction that writes it and the relay that sends it.

use std::time::Duration;

use super::SendError;
use super::id::Id;
use super::outgoing::{IntoOutgoing, Outgoing};
use super::trace::TraceSource;
use crate::extract::{AttributeValue, SEND_ID, attributes_from_json, attributes_to_json};

/// A checked and completed message, as an outbox row stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The id that a receiver gets.
    pub id: String,
    pub body: String,
    /// A JSON object in the format of Lambda's events.
    pub attributes: String,
    pub group: Option<String>,
    pub delay_seconds: Option<i32>,
    pub trace_header: Option<String>,
}

impl Stored {
    /// Checks a message, and gives it an id and a trace context.
    ///
    /// # Errors
    ///
    /// Returns an error if SQS would refuse the message.
    pub fn new(message: impl IntoOutgoing, is_fifo: bool, trace: &TraceSource) -> Result<Self, SendError> {
        let mut checked = message.into_outgoing()?.check(is_fifo)?;
        let id = checked.message.deduplication_id.clone().unwrap_or_else(Id::random).to_string();
        checked.add_if_there_is_room(SEND_ID, AttributeValue::string(&*id));
        trace.now().complete(&mut checked);
        let delay_seconds = checked.message.delay_seconds();
        let Outgoing { body, attributes, group, trace_header, .. } = checked.message;
        Ok(Self { id, body, attributes: attributes_to_json(&attributes), group, delay_seconds, trace_header })
    }

    /// Converts the row back into a message.
    ///
    /// # Errors
    ///
    /// Returns an error if another program wrote attributes that cannot be read.
    pub fn into_outgoing(self) -> Result<Outgoing, SendError> {
        let malformed = |error| SendError::invalid(format!("the attributes of its row cannot be read: {error}"));
        Ok(Outgoing {
            body: self.body,
            attributes: attributes_from_json(&self.attributes).map_err(malformed)?,
            group: self.group,
            deduplication_id: Some(Id::Given(self.id)),
            delay: self.delay_seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
            trace_header: self.trace_header,
            content_id: None,
        })
    }
}
