//! Who has sent which message, and what came of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::tap::Listener;

/// Of all relays of a run, by the bodies of the messages.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Numbers what happens in its order.
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

/// What the relay has heard of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Taken,
    NotTaken,
}

impl Account {
    /// There is nothing left of that relay.
    pub(crate) fn died(&self, relay: usize) {
        let mut book = self.0.lock().unwrap();
        book.now += 1;
        let now = book.now;
        book.deaths.insert(relay, now);
    }

    /// Checks that the message may be in a standard queue so many times: more than once only where an answer was lost, or the relay that
    /// had heard it died, and was dead by then.
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

/// Writes down what one relay sends.
#[derive(Debug)]
pub(crate) struct Clerk {
    relay: usize,
    account: Arc<Account>,
    network: Handle,
    under_way: Arc<()>,
}

impl Clerk {
    /// For a relay whose calls go on when it is no more, in the runtime that this is called in.
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
            // One relay sends a message once at a time.
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
