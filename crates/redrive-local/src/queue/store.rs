//! The messages of one queue: which are visible, in flight or delayed, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::Message;
use super::order::{Order, Share};
use super::time::Time;

/// Where a message stands in its queue: later ones have greater places.
pub(super) type Place = u64;

#[derive(Debug)]
pub(super) struct Store {
    // Boxed: a half-full node of a B-tree would otherwise keep the room of several messages.
    slots: BTreeMap<Place, Box<Slot>>,
    next_place: Place,
    order: Order,
    /// What is in flight or delayed, by the time at which it becomes visible.
    hidden: BTreeSet<(Time, Place)>,
    in_flight: usize,
    /// By the time at which it was sent: the order in which retention ends.
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

/// What is known of a message that was received and is hidden since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub received: Time,
    pub until: Time,
    /// Whether the consumer changed when it becomes visible.
    pub changed: bool,
}

/// What a receive took out of a queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub received: Vec<Place>,
    /// Received too often before; no longer in this queue.
    pub dead: Vec<Message>,
}

/// How many messages are how. SQS calls these approximate; here they are exact.
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

    /// Lets the time pass: what is due becomes visible, and what has been kept for long enough is gone. Says what is.
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

    /// When the next message becomes visible by itself.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.hidden.first().map(|&(due, _)| due)
    }

    /// Takes up to `max` messages, which are hidden until then. One that was received as often as it may be is taken out
    /// of the queue instead.
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
            // Only now: shown at once, a message would be taken again by this same receive.
            taken.received.iter().for_each(|&place| self.show(place));
        }
        taken
    }

    /// The next message for a receive. It takes all it can of one group before it goes on to another.
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

    /// All messages, the oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.slots.values().map(|slot| &slot.message)
    }

    pub(super) fn message(&self, place: Place) -> Option<&Message> {
        self.slots.get(&place).map(|slot| &slot.message)
    }

    /// `None` where it is not in flight.
    pub(super) fn flight(&self, place: Place) -> Option<Flight> {
        match self.slots.get(&place)?.state {
            State::InFlight(flight) => Some(flight),
            State::Visible | State::Delayed { .. } => None,
        }
    }

    /// Changes until when a message in flight is hidden.
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

    /// Hides the messages of a receive that is repeated for as long again.
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

    /// The oldest message that could be received, for a move to another queue.
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

    /// Whether a receive would find a message.
    pub(super) fn has_receivable(&self) -> bool {
        self.order.has_next()
    }

    /// A FIFO queue's delay is that of all its messages, those that it has already included.
    pub(super) fn set_delay(&mut self, delay: Duration) {
        for (&place, slot) in &mut self.slots {
            if let State::Delayed { since, until } = &mut slot.state {
                self.hidden.remove(&(*until, place));
                *until = *since + delay;
                self.hidden.insert((*until, place));
            }
        }
    }

    /// Makes a message in flight visible to others, though its consumer has it still.
    pub(super) fn duplicate(&mut self, place: Place) {
        self.show(place);
    }

    pub(super) fn clear(&mut self) {
        let fifo = matches!(self.order, Order::ByGroup(_));
        // Places go on: handles from before must not lead to messages from after.
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
