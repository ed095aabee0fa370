//! Defines the handlers. Their outcomes depend only on the message and its receive count.

use std::time::Duration;

use redrive::{Body, MessageId, Outcome, ReceiptHandle, ReceiveCount, State};
use tokio::time::sleep;

use super::book::{Delivered, What};
use super::host::Host;
use crate::kit::secs;

/// A record, as the handlers extract it.
pub(super) type Order = (MessageId, ReceiptHandle, Body, ReceiveCount);

/// The outcome of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    Fails,
    Later,
    Dead,
    Panics,
}

/// One message in two hundred is poison, and others fail at first in various ways.
fn turn(number: usize, receive_count: u32) -> Turn {
    match number {
        _ if is_poison(number) => Turn::Dead,
        _ if number % 20 == 7 && receive_count < 3 => Turn::Fails,
        _ if number % 50 == 11 && receive_count < 2 => Turn::Later,
        _ if number % 1_000 == 500 && receive_count < 2 => Turn::Panics,
        _ => Turn::Done,
    }
}

pub(super) fn is_poison(number: usize) -> bool {
    number % 200 == 99
}

/// Returns the number at the end of a body.
pub(super) fn number_of(body: &str) -> usize {
    body.rsplit('-').next().and_then(|number| number.parse().ok()).expect("bodies end with their number")
}

/// Returns the duration of a run. Some runs take longer than any visibility timeout.
fn takes(number: usize, receive_count: u32) -> Duration {
    match number {
        _ if number % 200 == 3 && receive_count == 1 => secs(40),
        _ if number % 1_000 == 5 && receive_count <= 2 => secs(100),
        // The durations are multiples of a step, so that some runs end together and share calls.
        _ => Duration::from_millis(150) * (number % 3) as u32,
    }
}

/// A run of a message, recorded from its start to its end. A run that is dropped without an outcome counts as cut off.
struct Run {
    host: Host,
    delivered: Delivered,
    end: What,
}

impl Run {
    fn begin(
        host: &Host,
        (MessageId(id), ReceiptHandle(receipt), Body(body), ReceiveCount(receive_count)): Order,
    ) -> Self {
        let delivered = Delivered { id, receipt, body, receive_count };
        host.book.open().begun(host.number, &delivered);
        Self { host: host.clone(), delivered, end: What::CutOff }
    }

    fn number(&self) -> usize {
        number_of(&self.delivered.body)
    }

    fn turn(&self) -> Turn {
        turn(self.number(), self.delivered.receive_count)
    }

    fn takes(&self) -> Duration {
        takes(self.number(), self.delivered.receive_count)
    }

    fn end(mut self) -> Result<Outcome, &'static str> {
        let (end, outcome) = match self.turn() {
            Turn::Done => (What::Done, Ok(Outcome::Done)),
            Turn::Fails => (What::Failed, Err("not yet")),
            Turn::Later => (What::Failed, Ok(Outcome::RetryAfter(secs(3)))),
            Turn::Dead => (What::Dead, Ok(Outcome::DeadLetter("poison".into()))),
            Turn::Panics => panic!("once"),
        };
        self.end = end;
        outcome
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.host.book.open().ended(self.host.number, &self.delivered, self.end);
    }
}

pub(super) async fn place(
    id: MessageId,
    receipt: ReceiptHandle,
    body: Body,
    receive_count: ReceiveCount,
    State(host): State<Host>,
) -> Result<Outcome, &'static str> {
    host.runs().await;
    let run = Run::begin(&host, (id, receipt, body, receive_count));
    sleep(run.takes()).await;
    host.runs().await;
    run.end()
}

/// Handles several orders at a time, and takes as long as the slowest. A panic fails all of them.
pub(super) async fn store(State(host): State<Host>, orders: Vec<Order>) -> Vec<Result<Outcome, &'static str>> {
    host.runs().await;
    let runs: Vec<_> = orders.into_iter().map(|order| Run::begin(&host, order)).collect();
    sleep(runs.iter().map(Run::takes).max().unwrap_or_default()).await;
    host.runs().await;
    assert!(runs.iter().all(|run| run.turn() != Turn::Panics), "once");
    runs.into_iter().map(Run::end).collect()
}
