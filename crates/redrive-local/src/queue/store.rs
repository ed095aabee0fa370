//! Stores the messages of one queue and their states: visible, in flight or delayed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::{Message, Position};
use super::order::{Order, Share};
use super::time::Time;

#[derive(Debug)]
pub(super) struct Store {
    // Boxed, because a half-full B-tree node would otherwise reserve the room of several messages.
    messages: BTreeMap<Position, Box<StoredMessage>>,
    next_position: Position,
    order: Order,
    /// The in-flight and delayed messages, by the time at which they become visible.
    hidden: BTreeSet<(Time, Position)>,
    in_flight: usize,
    /// All messages by send time, the order in which their retention ends.
    by_age: BTreeSet<(Time, Position)>,
}

#[derive(Debug)]
struct StoredMessage {
    message: Message,
    state: MessageState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
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
    pub received: Vec<Position>,
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
            messages: BTreeMap::new(),
            next_position: 0,
            order: Order::new(fifo),
            hidden: BTreeSet::new(),
            in_flight: 0,
            by_age: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, message: Message, now: Time, delay: Duration) {
        let position = self.next_position;
        self.next_position += 1;
        self.by_age.insert((message.sent, position));
        let state = if delay.is_zero() {
            self.order.show(position, message.group.as_ref());
            MessageState::Visible
        } else {
            let until = now + delay;
            self.hidden.insert((until, position));
            MessageState::Delayed { since: now, until }
        };
        self.messages.insert(position, Box::new(StoredMessage { message, state }));
    }

    /// Advances the time: due messages become visible, and expired messages are removed and returned.
    pub(super) fn advance(&mut self, now: Time, retention: Duration) -> Vec<Message> {
        while let Some(&(_, position)) = self.hidden.first().filter(|(due, _)| *due <= now) {
            self.show(position);
        }
        let mut expired = Vec::new();
        while let Some(&(_, position)) = self.by_age.first().filter(|(sent, _)| *sent + retention <= now) {
            expired.extend(self.remove(position));
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
            && let Some(position) = self.next(&mut share)
        {
            let Some(stored) = self.messages.get(&position) else { break };
            if max_receive_count.is_some_and(|most| stored.message.received_here() >= most) {
                taken.dead.extend(self.remove(position));
            } else {
                self.take(position, now, until);
                taken.received.push(position);
            }
        }
        if until <= now {
            // The messages become visible after the loop. Otherwise this receive would take them again.
            taken.received.iter().for_each(|&position| self.show(position));
        }
        taken
    }

    /// Returns the next message for a receive. A receive takes all it can from one group before the next group.
    fn next(&mut self, share: &mut Option<Share>) -> Option<Position> {
        match &mut self.order {
            Order::Any(order) => order.next(self.in_flight),
            Order::ByGroup(groups) => {
                let same = share.as_ref().and_then(|share| groups.next_of(share));
                same.or_else(|| {
                    *share = groups.take_turn();
                    share.as_ref().and_then(|share| groups.next_of(share))
                })
            }
        }
    }

    fn take(&mut self, position: Position, now: Time, until: Time) {
        let Some(stored) = self.messages.get_mut(&position) else { return };
        stored.message.receive_count += 1;
        stored.message.first_received.get_or_insert(now);
        stored.state = MessageState::InFlight(Flight { received: now, until, changed: false });
        self.order.take(position, stored.message.group.as_ref());
        self.hidden.insert((until, position));
        self.in_flight += 1;
    }

    /// Makes a hidden message visible.
    fn show(&mut self, position: Position) {
        let Some(stored) = self.messages.get_mut(&position) else { return };
        match stored.state {
            MessageState::Visible => return,
            MessageState::Delayed { until, .. } => {
                self.hidden.remove(&(until, position));
            }
            MessageState::InFlight(Flight { until, .. }) => {
                self.hidden.remove(&(until, position));
                self.in_flight -= 1;
            }
        }
        stored.state = MessageState::Visible;
        self.order.show(position, stored.message.group.as_ref());
    }

    /// Returns all messages, oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().map(|stored| &stored.message)
    }

    pub(super) fn message(&self, position: Position) -> Option<&Message> {
        self.messages.get(&position).map(|stored| &stored.message)
    }

    /// Returns the flight, or `None` if the message is not in flight.
    pub(super) fn flight(&self, position: Position) -> Option<Flight> {
        match self.messages.get(&position)?.state {
            MessageState::InFlight(flight) => Some(flight),
            MessageState::Visible | MessageState::Delayed { .. } => None,
        }
    }

    /// Changes the time until which a message in flight is hidden.
    pub(super) fn hide_until(&mut self, position: Position, now: Time, until: Time) {
        let Some(stored) = self.messages.get_mut(&position) else { return };
        let MessageState::InFlight(flight) = &mut stored.state else { return };
        self.hidden.remove(&(flight.until, position));
        *flight = Flight { until, changed: true, ..*flight };
        self.hidden.insert((until, position));
        if until <= now {
            self.show(position);
        }
    }

    /// Hides the messages of a repeated receive for a full timeout.
    pub(super) fn renew(&mut self, position: Position, now: Time, until: Time) {
        self.hide_until(position, now, until);
        if let Some(StoredMessage { state: MessageState::InFlight(flight), .. }) =
            self.messages.get_mut(&position).map(AsMut::as_mut)
        {
            flight.changed = false;
        }
    }

    pub(super) fn remove(&mut self, position: Position) -> Option<Message> {
        let StoredMessage { message, state } = *self.messages.remove(&position)?;
        self.by_age.remove(&(message.sent, position));
        self.order.remove(position, message.group.as_ref());
        match state {
            MessageState::Visible => {}
            MessageState::Delayed { until, .. } => {
                self.hidden.remove(&(until, position));
            }
            MessageState::InFlight(Flight { until, .. }) => {
                self.hidden.remove(&(until, position));
                self.in_flight -= 1;
            }
        }
        Some(message)
    }

    /// Returns the oldest receivable message, for a move to another queue.
    pub(super) fn oldest_receivable(&self) -> Option<(Position, &Message)> {
        let position = match &self.order {
            Order::Any(order) => order.next(self.in_flight),
            Order::ByGroup(groups) => {
                let is_receivable = |position, stored: &StoredMessage| {
                    stored.state == MessageState::Visible && !groups.holds_back(position, stored.message.group.as_ref())
                };
                self.messages
                    .iter()
                    .find(|(position, stored)| is_receivable(**position, stored))
                    .map(|(position, _)| *position)
            }
        }?;
        Some((position, self.message(position)?))
    }

    /// Returns whether a receive would find a message.
    pub(super) fn has_receivable(&self) -> bool {
        self.order.has_next()
    }

    /// Sets the delay of a FIFO queue, which also applies to messages already in the queue.
    pub(super) fn set_delay(&mut self, delay: Duration) {
        for (&position, stored) in &mut self.messages {
            if let MessageState::Delayed { since, until } = &mut stored.state {
                self.hidden.remove(&(*until, position));
                *until = *since + delay;
                self.hidden.insert((*until, position));
            }
        }
    }

    /// Makes a message in flight visible to others while its consumer still processes it.
    pub(super) fn duplicate(&mut self, position: Position) {
        self.show(position);
    }

    pub(super) fn clear(&mut self) {
        let fifo = matches!(self.order, Order::ByGroup(_));
        // Positions continue: an old handle must not identify a new message.
        *self = Self { next_position: self.next_position, ..Self::new(fifo) };
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            visible: self.messages.len() - self.hidden.len(),
            in_flight: self.in_flight,
            delayed: self.hidden.len() - self.in_flight,
        }
    }
}
