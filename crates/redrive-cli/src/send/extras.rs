//! What the command line adds to every message.

use std::time::Duration;

use super::attribute::Attribute;
use super::message::{Message, Place, Unsendable};

/// It goes before what a record of an event says itself.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) attributes: Vec<Attribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) delay: Option<Duration>,
    /// Whether the queue is a FIFO one.
    pub(super) is_fifo: bool,
}

impl Extras {
    /// Refuses what such a queue takes from nobody.
    pub(super) fn check(&self, queue: &str) -> Result<(), String> {
        if self.is_fifo && self.delay.is_some() {
            return Err(format!("{queue} is a FIFO queue, which delays no single message; leave --delay out"));
        }
        if !self.is_fifo && self.deduplication_id.is_some() {
            return Err(format!(
                "{queue} is a standard queue, which finds no duplicates; leave --deduplication-id out"
            ));
        }
        Ok(())
    }

    pub(super) fn add_to(&self, Message { place, mut outgoing }: Message) -> Result<Message, Unsendable> {
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
            outgoing = outgoing.deduplication_id(match place {
                Place::Whole => id.clone(),
                // With the same id all but the first would count as duplicates, and be dropped.
                place => format!("{id}-{}", place.number()),
            });
        }
        Message { place, outgoing }.checked(self.is_fifo)
    }
}

#[cfg(test)]
mod tests {
    use redrive::Outgoing;

    use super::*;
    use crate::send::attribute::attribute;

    fn message(place: Place) -> Message {
        Message { place, outgoing: Outgoing::text("a").group("own").deduplication_id("own") }
    }

    fn fifo() -> Extras {
        Extras { is_fifo: true, ..Extras::default() }
    }

    #[test]
    fn the_command_line_goes_before_the_event() {
        let extras = Extras {
            attributes: vec![attribute("a=new").unwrap()],
            group: Some("g".to_owned()),
            deduplication_id: Some("run".to_owned()),
            ..fifo()
        };
        let mut given = message(Place::Record(0));
        given.outgoing = given.outgoing.attribute("a", attribute("a=old").unwrap().value);
        let sent = extras.add_to(given).unwrap().outgoing;
        assert_eq!(sent.get_attribute("a").unwrap().as_str(), Some("new"));
        assert_eq!((sent.get_group(), sent.get_deduplication_id()), (Some("g"), Some("run-1")));
    }

    #[test]
    fn each_line_has_a_deduplication_id_of_its_own() {
        let extras = Extras { deduplication_id: Some("run".to_owned()), ..fifo() };
        let id = |place| extras.add_to(message(place)).unwrap().outgoing.get_deduplication_id().unwrap().to_owned();
        assert_eq!([id(Place::Line(1)), id(Place::Line(2)), id(Place::Whole)], ["run-1", "run-2", "run"]);
    }

    #[test]
    fn what_the_queue_does_not_know_is_refused_before_anything_is_sent() {
        let delayed = Extras { delay: Some(Duration::from_secs(5)), ..fifo() };
        assert!(delayed.check("orders.fifo").unwrap_err().contains("leave --delay out"));
        let deduplicated = Extras { deduplication_id: Some("a".to_owned()), ..Extras::default() };
        assert!(deduplicated.check("orders").unwrap_err().contains("leave --deduplication-id out"));
    }
}
