//! Adds the options of the command line to every message.

use std::time::Duration;

use super::attribute::Attribute;
use super::message::{InputPosition, Message, Unsendable};

/// The options of the command line. They take precedence over the fields of a record.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) attributes: Vec<Attribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) delay: Option<Duration>,
    /// Whether the queue is a FIFO queue.
    pub(super) is_fifo: bool,
}

impl Extras {
    /// Refuses options that this kind of queue never accepts.
    pub(super) fn check(&self, queue: &str) -> Result<(), String> {
        if self.is_fifo && self.delay.is_some() {
            return Err(format!("{queue} is a FIFO queue, which cannot delay single messages; leave --delay out"));
        }
        if !self.is_fifo && self.deduplication_id.is_some() {
            return Err(format!(
                "{queue} is a standard queue, which has no deduplication; leave --deduplication-id out"
            ));
        }
        Ok(())
    }

    pub(super) fn add_to(&self, Message { position, mut outgoing }: Message) -> Result<Message, Unsendable> {
        for Attribute { name, value } in &self.attributes {
            outgoing = outgoing.attribute(name, value.clone());
        }
        if let Some(group) = &self.group {
            outgoing = outgoing.group(group);
        }
        if let Some(delay) = self.delay {
            outgoing = outgoing.delay(delay);
        }
        if let Some(id) = &self.deduplication_id {
            outgoing = outgoing.deduplication_id(match position {
                InputPosition::Whole => id.clone(),
                // With the same id, all messages but the first would be dropped as duplicates.
                position => format!("{id}-{}", position.number()),
            });
        }
        Message { position, outgoing }.checked(self.is_fifo)
    }
}

#[cfg(test)]
mod tests {
    use redrive::Outgoing;

    use super::*;
    use crate::send::attribute::attribute;

    fn message(position: InputPosition) -> Message {
        Message { position, outgoing: Outgoing::text("a").group("own").deduplication_id("own") }
    }

    fn fifo() -> Extras {
        Extras { is_fifo: true, ..Extras::default() }
    }

    #[test]
    fn the_command_line_takes_precedence_over_the_event() {
        let extras = Extras {
            attributes: vec![attribute("a=new").unwrap()],
            group: Some("g".to_owned()),
            deduplication_id: Some("run".to_owned()),
            ..fifo()
        };
        let mut given = message(InputPosition::Record(0));
        given.outgoing = given.outgoing.attribute("a", attribute("a=old").unwrap().value);
        let sent = extras.add_to(given).unwrap().outgoing;
        assert_eq!(sent.get_attribute("a").unwrap().as_str(), Some("new"));
        assert_eq!((sent.get_group(), sent.get_deduplication_id()), (Some("g"), Some("run-1")));
    }

    #[test]
    fn each_line_gets_its_own_deduplication_id() {
        let extras = Extras { deduplication_id: Some("run".to_owned()), ..fifo() };
        let id =
            |position| extras.add_to(message(position)).unwrap().outgoing.get_deduplication_id().unwrap().to_owned();
        assert_eq!(
            [id(InputPosition::Line(1)), id(InputPosition::Line(2)), id(InputPosition::Whole)],
            ["run-1", "run-2", "run"]
        );
    }

    #[test]
    fn an_option_that_the_queue_does_not_support_is_refused() {
        let delayed = Extras { delay: Some(Duration::from_secs(5)), ..fifo() };
        assert!(delayed.check("orders.fifo").unwrap_err().contains("leave --delay out"));
        let deduplicated = Extras { deduplication_id: Some("a".to_owned()), ..Extras::default() };
        assert!(deduplicated.check("orders").unwrap_err().contains("leave --deduplication-id out"));
    }
}
