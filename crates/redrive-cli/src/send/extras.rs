//! What the command line adds to every message.

use super::attribute::Attribute;
use super::message::{Message, Place, Unsendable};

/// It goes before what a record of an event says itself.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) attributes: Vec<Attribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) delay_seconds: Option<i32>,
    /// Whether the queue is a FIFO one.
    pub(super) is_fifo: bool,
}

impl Extras {
    /// Refuses what such a queue takes from nobody.
    pub(super) fn check(&self, queue: &str) -> Result<(), String> {
        if self.is_fifo && self.delay_seconds.is_some() {
            return Err(format!("{queue} is a FIFO queue, which delays no single message; leave --delay out"));
        }
        if !self.is_fifo && self.deduplication_id.is_some() {
            return Err(format!(
                "{queue} is a standard queue, which finds no duplicates; leave --deduplication-id out"
            ));
        }
        Ok(())
    }

    pub(super) fn add_to(&self, mut message: Message) -> Result<Message, Unsendable> {
        for Attribute { name, value } in &self.attributes {
            message.attributes.insert(name.clone(), value.clone());
        }
        message.group = self.group.clone().or(message.group);
        message.delay_seconds = self.delay_seconds.or(message.delay_seconds);
        let id = self.deduplication_id.as_ref().map(|id| match message.place {
            Place::Whole => id.clone(),
            // With the same id all but the first would count as duplicates, and be dropped.
            place => format!("{id}-{}", place.number()),
        });
        // A standard queue refuses the one that an event of a FIFO queue has.
        message.deduplication_id = id.or(message.deduplication_id).filter(|_| self.is_fifo);
        message.checked(self.is_fifo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::attribute::attribute;

    fn message(place: Place) -> Message {
        let message = Message::new(place, "a".to_owned());
        Message { group: Some("own".to_owned()), deduplication_id: Some("own".to_owned()), ..message }
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
        given.attributes.insert("a".to_owned(), attribute("a=old").unwrap().value);
        let sent = extras.add_to(given).unwrap();
        assert_eq!(sent.attributes["a"].string_value(), Some("new"));
        assert_eq!((sent.group.as_deref(), sent.deduplication_id.as_deref()), (Some("g"), Some("run-1")));
    }

    #[test]
    fn each_line_has_a_deduplication_id_of_its_own() {
        let extras = Extras { deduplication_id: Some("run".to_owned()), ..fifo() };
        let id = |place| extras.add_to(message(place)).unwrap().deduplication_id.unwrap();
        assert_eq!([id(Place::Line(1)), id(Place::Line(2)), id(Place::Whole)], ["run-1", "run-2", "run"]);
    }

    #[test]
    fn an_events_deduplication_id_is_for_fifo_queues_and_its_group_for_all() {
        let sent = Extras::default().add_to(message(Place::Record(0))).unwrap();
        assert_eq!((sent.group.as_deref(), sent.deduplication_id), (Some("own"), None));
        assert_eq!(fifo().add_to(message(Place::Record(0))).unwrap().deduplication_id.as_deref(), Some("own"));
    }

    #[test]
    fn what_the_queue_does_not_know_is_refused_before_anything_is_sent() {
        let delayed = Extras { delay_seconds: Some(5), ..fifo() };
        assert!(delayed.check("orders.fifo").unwrap_err().contains("leave --delay out"));
        let deduplicated = Extras { deduplication_id: Some("a".to_owned()), ..Extras::default() };
        assert!(deduplicated.check("orders").unwrap_err().contains("leave --deduplication-id out"));
    }
}
