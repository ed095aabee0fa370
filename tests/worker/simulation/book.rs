//! Records all events, message by message and in order, and the violations among them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::causes::{self, Cause};
use super::groups::Groups;
use crate::log::Logged;

/// The book that all hosts of a fleet share.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Book>>);

pub(super) struct Book {
    pub(super) began: Instant,
    stories: HashMap<Arc<str>, Vec<Event>>,
    /// The message of each receipt handle.
    handles: HashMap<Arc<str>, Arc<str>>,
    /// The groups of a FIFO queue.
    groups: Option<Groups>,
    pub(super) hosts: Hosts,
    /// Every run, recorded at its start.
    pub(super) runs: Vec<Began>,
    /// The causes of repeated runs.
    pub(super) causes: BTreeMap<Cause, usize>,
    /// The number of injected faults, by name.
    pub(super) troubles: BTreeMap<&'static str, usize>,
    /// The bodies of messages that are done or dead.
    pub(super) settled: HashSet<String>,
    pub(super) wrong: Vec<String>,
}

/// The time, host, message and receive count of a run.
pub(super) type Began = (Duration, usize, String, u32);

#[derive(Default)]
pub(super) struct Hosts {
    pub(super) crashed: HashSet<usize>,
    /// The mappings. They remember no earlier run and extend no lease.
    pub(super) mappings: HashSet<usize>,
    /// How long a message is hidden for each host without heartbeats.
    pub(super) leases: HashMap<usize, Duration>,
    /// When each host learned the URL of the dead-letter queue. A host asks before its first dead letter.
    pub(super) dead_letter_queues: HashMap<usize, Duration>,
}

/// An event in the story of a message.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The time since the fleet's start.
    pub(super) after: Duration,
    /// The host, or 0 if it is unknown.
    pub(super) host: usize,
    pub(super) receipt: Arc<str>,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Received,
    /// The message reached its host late.
    Arrived,
    /// SQS handed the message out and left it visible.
    Duplicated,
    Begun,
    Done,
    /// The message was to become a dead letter.
    Dead,
    Failed,
    /// The handler was dropped before its end or panicked.
    CutOff,
    /// A worker reported that it lost the lease.
    Lost,
    Tried(Ask),
    Confirmed(Ask),
}

/// The kind of a request to SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Delete,
    Visibility,
    Letter,
}

/// A message, as a handler receives it.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    pub(super) id: String,
    pub(super) receipt: String,
    pub(super) body: String,
    pub(super) receive_count: u32,
}

impl Shared {
    pub(super) fn new(groups: Option<usize>) -> Self {
        Self(Arc::new(Mutex::new(Book::new(groups))))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// Records events that only the logs of the embedded queue and of workers show.
    pub(super) fn hear(&self, logged: &Logged) {
        let what = match logged.message.as_str() {
            "received a message that stays visible: an injected fault" => What::Duplicated,
            "lost the lease on a running message; another consumer may receive it" => What::Lost,
            _ => return,
        };
        let mut book = self.open();
        let id = logged.message_id.as_deref().expect("the log line names its message");
        if what == What::Lost && !book.story(id).is_empty() && causes::lost_for_nothing(book.story(id)) {
            book.is_wrong(id, "a lease was lost although no heartbeat had failed");
        }
        book.note(id, 0, "", what);
    }

    /// Takes the book away from tasks that may still write to it.
    pub(super) fn close(&self) -> Book {
        std::mem::replace(&mut *self.open(), Book::new(None))
    }
}

impl Book {
    fn new(groups: Option<usize>) -> Self {
        Self {
            began: Instant::now(),
            stories: HashMap::new(),
            handles: HashMap::new(),
            groups: groups.map(Groups::new),
            hosts: Hosts::default(),
            runs: Vec::new(),
            causes: BTreeMap::new(),
            troubles: BTreeMap::new(),
            settled: HashSet::new(),
            wrong: Vec::new(),
        }
    }

    fn story(&self, id: &str) -> &[Event] {
        self.stories.get(id).map_or(&[], Vec::as_slice)
    }

    fn note(&mut self, id: &str, host: usize, receipt: &str, what: What) {
        let receipt = self.handles.get_key_value(receipt).map_or_else(|| receipt.into(), |(handle, _)| handle.clone());
        let event = Event { after: self.began.elapsed(), host, receipt, what };
        match self.stories.get_mut(id) {
            Some(story) => story.push(event),
            None => drop(self.stories.insert(id.into(), vec![event])),
        }
    }

    pub(super) fn is_wrong(&mut self, id: &str, problem: &str) {
        let story = self.story(id).iter().map(Event::to_string).collect::<Vec<_>>();
        self.wrong.push(format!("{problem}: {id} at {:?}\n  {}", self.began.elapsed(), story.join("\n  ")));
    }

    pub(super) fn trouble(&mut self, name: &'static str) {
        *self.troubles.entry(name).or_default() += 1;
    }

    pub(super) fn received(&mut self, host: usize, id: &str, receipt: &str) {
        let id = self.stories.get_key_value(id).map_or_else(|| id.into(), |(id, _)| id.clone());
        self.handles.insert(receipt.into(), id.clone());
        self.note(&id, host, receipt, What::Received);
    }

    /// Records the result of a call, by its receipt.
    pub(super) fn called(&mut self, host: usize, receipt: &str, what: What) {
        // At startup a worker checks its permissions with a receipt that belongs to no message.
        if let Some(id) = self.handles.get(receipt).cloned() {
            self.note(&id, host, receipt, what);
        }
    }

    pub(super) fn found_dead_letter_queue(&mut self, host: usize) {
        self.hosts.dead_letter_queues.entry(host).or_insert(self.began.elapsed());
    }

    /// Records the result of a dead letter.
    pub(super) fn letter(&mut self, host: usize, id: &str, body: &str, what: What) {
        self.note(id, host, "", what);
        if what == What::Confirmed(Ask::Letter) {
            self.is_settled(body);
        }
    }

    pub(super) fn begun(&mut self, host: usize, delivered: &Delivered) {
        let Delivered { id, receipt, body, receive_count } = delivered;
        match causes::cause(self.story(id), &self.hosts, host, receipt) {
            Ok(cause) => cause.into_iter().for_each(|cause| *self.causes.entry(cause).or_default() += 1),
            Err(problem) => self.is_wrong(id, &format!("host {host} ran it again, {problem}")),
        }
        self.note(id, host, receipt, What::Begun);
        self.runs.push((self.began.elapsed(), host, body.clone(), *receive_count));
        let Some(mut groups) = self.groups.take() else { return };
        let now = self.began.elapsed();
        let is_ours = |host, id: &str, receipt: &str| causes::is_ours(self.story(id), &self.hosts, host, receipt, now);
        let ran_on = |event: &Event| event.what == What::Begun && self.hosts.mappings.contains(&event.host);
        let was_a_mappings = self.story(id).iter().any(ran_on);
        if let Err(problem) = groups.begin(host, delivered, was_a_mappings, is_ours) {
            self.is_wrong(id, &format!("host {host} ran {body}, {problem}"));
        }
        self.groups = Some(groups);
    }

    pub(super) fn ended(&mut self, host: usize, delivered: &Delivered, what: What) {
        self.note(&delivered.id, host, &delivered.receipt, what);
        if let Some(groups) = &mut self.groups {
            groups.end(host, delivered);
        }
        if what == What::Done {
            self.is_settled(&delivered.body);
        }
    }

    fn is_settled(&mut self, body: &str) {
        self.settled.insert(body.to_owned());
        if let Some(groups) = &mut self.groups {
            groups.settled(body);
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { after, host, receipt, what } = self;
        // A receipt's end is its receive count. Its beginning is the same for all.
        let receipt = &receipt[receipt.len().saturating_sub(8)..];
        write!(f, "{:>12.3} s  host {host:<3} {what:?} {receipt}", after.as_secs_f64())
    }
}
