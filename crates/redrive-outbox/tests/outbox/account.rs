//! Records which relay sent which message, and the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::tap::Listener;

/// The attempts of all relays of a run, by message body.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Numbers events in their order.
    now: usize,
    attempts: HashMap<String, Vec<Attempt>>,
    deaths: HashMap<usize, usize>,
}

#[derive(Debug)]
struct Attempt {
    relay: usize,
    begun: usize,
    heard: Heard,
}

/// The result that the relay received for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Taken,
    NotTaken,
}

impl Account {
    /// Records that the relay has died, with all that it knew.
    pub(crate) fn died(&self, relay: usize) {
        let mut book = self.0.lock().unwrap();
        book.now += 1;
        let now = book.now;
        book.deaths.insert(relay, now);
    }

    /// Checks that a standard queue may hold the message this many times. A copy is allowed only if an answer was lost,
    /// or if the relay that received the answer was dead by then.
    pub(crate) fn check(&self, body: &str, times: usize) {
        let book = self.0.lock().unwrap();
        let attempts = book.attempts.get(body).map(Vec::as_slice).unwrap_or_default();
        let may_be_there = attempts.iter().filter(|attempt| attempt.heard != Heard::NotTaken).count();
        assert!((1..=may_be_there).contains(&times), "{body} is there {times} times: {attempts:?}");
        for (place, attempt) in attempts.iter().enumerate().filter(|(_, attempt)| attempt.heard == Heard::Taken) {
            let died = book.deaths.get(&attempt.relay).copied().unwrap_or(usize::MAX);
            let again = attempts[place + 1..].iter().find(|later| later.begun < died);
            assert!(again.is_none(), "{body} was known to be there, and sent again: {again:?} of {attempts:?}");
        }
    }
}

/// Records the messages of one relay.
#[derive(Debug)]
pub(crate) struct Clerk {
    relay: usize,
    account: Arc<Account>,
    network: Handle,
    under_way: Arc<()>,
}

impl Clerk {
    /// Creates a clerk for a relay whose calls outlive it, in the current runtime.
    pub(crate) fn of(relay: usize, account: &Arc<Account>) -> Self {
        Self { relay, account: account.clone(), network: Handle::current(), under_way: Arc::default() }
    }

    pub(crate) fn calls_under_way(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }
}

impl Listener for Clerk {
    fn leaves<'a>(&'a self, bodies: &'a [String]) -> BoxFuture<'a, ()> {
        let mut book = self.account.0.lock().unwrap();
        for body in bodies {
            book.now += 1;
            let attempt = Attempt { relay: self.relay, begun: book.now, heard: Heard::Nothing };
            book.attempts.entry(body.clone()).or_default().push(attempt);
        }
        Box::pin(std::future::ready(()))
    }

    fn answered<'a>(&'a self, bodies: &'a [String], taken: Option<&'a [String]>) -> BoxFuture<'a, ()> {
        let mut book = self.account.0.lock().unwrap();
        for body in bodies {
            // A relay has one send of a message in flight at a time.
            let last = book
                .attempts
                .get_mut(body)
                .and_then(|attempts| attempts.iter_mut().rev().find(|attempt| attempt.relay == self.relay));
            if let (Some(attempt), Some(taken)) = (last, taken) {
                attempt.heard = if taken.contains(body) { Heard::Taken } else { Heard::NotTaken };
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn network(&self) -> Option<(Handle, Arc<()>)> {
        Some((self.network.clone(), self.under_way.clone()))
    }
}
