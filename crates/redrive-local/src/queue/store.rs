//! Stores the messages of one queue and their states: visible, in flight or delayed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::Message;
use super::order::{Order, Share};
use super::time::Time;

/// The position of a message in its queue. Later messages have greater positions.
pub(super) type Place = u64;

#[derive(Debug)]
pub(super) struct Store {
    // Boxed, because a half-full B-tree node would otherwise reserve the room of several messages.
    slots: BTreeMap<Place, Box<Slot>>,
    next_place: Place,
    order: Order,
    /// The in-flight and delayed messages, by the time at which they become visible.
    hidden: BTreeSet<(Time, Place)>,
    in_flight: usize,
    /// All messages by send time, the order in which their retention ends.
    by_age: BTreeSet<(Time, Place)>,
}

#[derive(Debug)]
struct Slot {
    message: Message,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Visible,
    Delayed { since: Time, until: Time },
    InFlight(Flight),
}

/// The state of a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub received: Time,
    pub until: Time,
    /// Whether the consumer changed the time at which the message becomes visible.
    pub changed: bool,
}

/// The messages that a receive took out of a queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub received: Vec<Place>,
    /// Messages that exceeded maxReceiveCount. They are no longer in this queue.
    pub dead: Vec<Message>,
}

/// The number of messages in each state. SQS calls these numbers approximate; here they are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

impl Store {
    pub(super) fn new(fifo: bool) -> Self {
        Self {
            slots: BTreeMap::new(),
            next_place: 0,
            order: Order::new(fifo),
            hidden: BTreeSet::new(),
            in_flight: 0,
            by_age: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, message: Message, now: Time, delay: Duration) {
        let place = self.next_place;
        self.next_place += 1;
        self.by_age.insert((message.sent, place));
        let state = if delay.is_zero() {
            self.order.show(place, message.group.as_ref());
            State::Visible
        } else {
            let until = now + delay;
            self.hidden.insert((until, place));
            State::Delayed { since: now, until }
        };
        self.slots.insert(place, Box::new(Slot { message, state }));
    }

    /// Advances the time: due messages become visible, and expired messages are removed and returned.
    pub(super) fn advance(&mut self, now: Time, retention: Duration) -> Vec<Message> {
        while let Some(&(_, place)) = self.hidden.first().filter(|(due, _)| *due <= now) {
            self.show(place);
        }
        let mut expired = Vec::new();
        while let Some(&(_, place)) = self.by_age.first().filter(|(sent, _)| *sent + retention <= now) {
            expired.extend(self.remove(place));
        }
        expired
    }

    /// Returns the time at which the next hidden message becomes visible.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.hidden.first().map(|&(due, _)| due)
    }

    /// Takes up to `max` messages and hides them. Removes a message that was already received `max_receive_count`
    /// times.
    pub(super) fn receive(&mut self, max: usize, now: Time, until: Time, max_receive_count: Option<u32>) -> Taken {
        let mut taken = Taken::default();
        let mut share = None;
        while taken.received.len() < max
            && let Some(place) = self.next(&mut share)
        {
            let Some(slot) = self.slots.get(&place) else { break };
            if max_receive_count.is_some_and(|most| slot.message.received_here() >= most) {
                taken.dead.extend(self.remove(place));
            } else {
                self.take(place, now, until);
                taken.received.push(place);
            }
        }
        if until <= now {
            // The messages become visible after the loop. Otherwise this receive would take them again.
            taken.received.iter().for_each(|&place| self.show(place));
        }
        taken
    }

    /// Returns the next message for a receive. A receive takes all it can from one group before the next group.
    fn next(&mut self, share: &mut Option<Share>) -> Option<Place> {
        match &mut self.order {
            Order::Any(visible) => visible.first().copied(),
            Order::ByGroup(groups) => {
                let same = share.as_ref().and_then(|share| groups.next_of(share));
                same.or_else(|| {
                    *share = groups.take_turn();
                    share.as_ref().and_then(|share| groups.next_of(share))
                })
            }
        }
    }

    fn take(&mut self, place: Place, now: Time, until: Time) {
        let Some(slot) = self.slots.get_mut(&place) else { return };
        slot.message.receive_count += 1;
        slot.message.first_received.get_or_insert(now);
        slot.state = State::InFlight(Flight { received: now, until, changed: false });
        self.order.take(place, slot.message.group.as_ref());
        self.hidden.insert((until, place));
        self.in_flight += 1;
    }

    /// Makes a hidden message visible.
    fn show(&mut self, place: Place) {
        let Some(slot) = self.slots.get_mut(&place) else { return };
        match slot.state {
            State::Visible => return,
            State::Delayed { until, .. } => {
                self.hidden.remove(&(until, place));
            }
            State::InFlight(Flight { until, .. }) => {
                self.hidden.remove(&(until, place));
                self.in_flight -= 1;
            }
        }
        slot.state = State::Visible;
        self.order.show(place, slot.message.group.as_ref());
    }

    /// Returns all messages, oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.slots.values().map(|slot| &slot.message)
    }

    pub(super) fn message(&self, place: Place) -> Option<&Message> {
        self.slots.get(&place).map(|slot| &slot.message)
    }

    /// Returns the flight, or `None` if the message is not in flight.
    pub(super) fn flight(&self, place: Place) -> Option<Flight> {
        match self.slots.get(&place)?.state {
            State::InFlight(flight) => Some(flight),
            State::Visible | State::Delayed { .. } => None,
        }
    }

    /// Changes the time until which a message in flight is hidden.
    pub(super) fn hide_until(&mut self, place: Place, now: Time, until: Time) {
        let Some(slot) = self.slots.get_mut(&place) else { return };
        let State::InFlight(flight) = &mut slot.state else { return };
        self.hidden.remove(&(flight.until, place));
        *flight = Flight { until, changed: true, ..*flight };
        self.hidden.insert((until, place));
        if until <= now {
            self.show(place);
        }
    }

    /// Hides the messages of a repeated receive for a full timeout.
    pub(super) fn renew(&mut self, place: Place, now: Time, until: Time) {
        self.hide_until(place, now, until);
        if let Some(Slot { state: State::InFlight(flight), .. }) = self.slots.get_mut(&place).map(AsMut::as_mut) {
            flight.changed = false;
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Message> {
        let Slot { message, state } = *self.slots.remove(&place)?;
        self.by_age.remove(&(message.sent, place));
        self.order.remove(place, message.group.as_ref());
        match state {
            State::Visible => {}
            State::Delayed { until, .. } => {
                self.hidden.remove(&(until, place));
            }
            State::InFlight(Flight { until, .. }) => {
                self.hidden.remove(&(until, place));
                self.in_flight -= 1;
            }
        }
        Some(message)
    }

    /// Returns the oldest receivable message, for a move to another queue.
    pub(super) fn oldest_receivable(&self) -> Option<(Place, &Message)> {
        let place = match &self.order {
            Order::Any(visible) => visible.first().copied(),
            Order::ByGroup(groups) => {
                let is_receivable = |place, slot: &Slot| {
                    slot.state == State::Visible && !groups.holds_back(place, slot.message.group.as_ref())
                };
                self.slots.iter().find(|(place, slot)| is_receivable(**place, slot)).map(|(place, _)| *place)
            }
        }?;
        Some((place, self.message(place)?))
    }

    /// Returns whether a receive would find a message.
    pub(super) fn has_receivable(&self) -> bool {
        self.order.has_next()
    }

    /// Sets the delay of a FIFO queue, which also applies to messages already in the queue.
    pub(super) fn set_delay(&mut self, delay: Duration) {
        for (&place, slot) in &mut self.slots {
            if let State::Delayed { since, until } = &mut slot.state {
                self.hidden.remove(&(*until, place));
                *until = *since + delay;
                self.hidden.insert((*until, place));
            }
        }
    }

    /// Makes a message in flight visible to others while its consumer still processes it.
    pub(super) fn duplicate(&mut self, place: Place) {
        self.show(place);
    }

    pub(super) fn clear(&mut self) {
        let fifo = matches!(self.order, Order::ByGroup(_));
        // Positions continue: an old handle must not identify a new message.
        *self = Self { next_place: self.next_place, ..Self::new(fifo) };
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            visible: self.slots.len() - self.hidden.len(),
            in_flight: self.in_flight,
            delayed: self.hidden.len() - self.in_flight,
        }
    }
}
