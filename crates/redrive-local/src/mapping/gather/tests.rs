use super::*;
use crate::mapping::config::{BatchSize, MaximumConcurrency, Window};

fn gatherer(is_fifo: bool, size: i64, window: i64) -> Gatherer {
    let batching = Batching::new(is_fifo, BatchSize::new(size).unwrap(), Window::new(window).unwrap()).unwrap();
    Gatherer::new(batching, Permits::new(MaximumConcurrency::new(2).ok()))
}

/// Builds messages from their ids, each with its group after a colon: `"a:g b:h c"`.
fn messages(text: &str) -> Vec<Record> {
    let record = |message: &str| match message.split_once(':') {
        Some((id, group)) => Record::for_test(id, Some(group), "{}"),
        None => Record::for_test(message, None, "{}"),
    };
    text.split_whitespace().map(record).collect()
}

fn ids(records: &[Record]) -> String {
    records.iter().map(Record::message_id).collect::<Vec<_>>().join(" ")
}

fn released(waiting: Vec<Waiting>) -> String {
    ids(&waiting.into_iter().map(|waiting| waiting.record).collect::<Vec<_>>())
}

/// Returns the ids of the next batch, or an empty text.
fn next(gatherer: &mut Gatherer, now: Duration) -> (String, Option<Batch>) {
    let batch = gatherer.next_batch(now);
    (batch.as_ref().map(|batch| ids(batch.records())).unwrap_or_default(), batch)
}

const START: Duration = Duration::from_secs(100);

fn after(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

#[test]
fn messages_of_one_receive_are_a_batch_at_once_without_a_window() {
    let mut gatherer = gatherer(false, 10, 0);
    gatherer.add(START, messages("a b c"));
    assert_eq!(gatherer.wake_at(), Some(START));
    let (ids, _batch) = next(&mut gatherer, START);
    assert_eq!((ids.as_str(), gatherer.waiting(), gatherer.wake_at()), ("a b c", 0, None));
    assert!(gatherer.next_batch(START).is_none());
}

#[test]
fn window_is_measured_from_the_first_message() {
    let mut gatherer = gatherer(false, 10, 5);
    gatherer.add(START, messages("a"));
    gatherer.add(after(4), messages("b"));
    assert_eq!(gatherer.wake_at(), Some(after(5)));
    assert!(gatherer.next_batch(after(5) - Duration::from_nanos(1)).is_none());
    assert_eq!(next(&mut gatherer, after(5)).0, "a b");
}

#[test]
fn full_batch_is_ready_at_once_and_the_rest_keeps_its_own_window() {
    let mut gatherer = gatherer(false, 2, 5);
    gatherer.add(START, messages("a"));
    gatherer.add(after(3), messages("b c"));
    let (ids, _batch) = next(&mut gatherer, after(3));
    assert_eq!(ids, "a b");
    assert!(gatherer.next_batch(after(7)).is_none());
    assert_eq!(gatherer.wake_at(), Some(after(8)));
    assert_eq!(next(&mut gatherer, after(8)).0, "c");
}

/// Returns a record whose event has this many bytes.
fn of_bytes(id: &str, event_bytes: usize) -> Record {
    let record = Record::for_test(id, None, &"x".repeat(event_bytes - ENVELOPE_BYTES - 1));
    assert_eq!(ENVELOPE_BYTES + record.added_bytes(), event_bytes);
    record
}

#[test]
fn message_that_exceeds_6_mb_begins_the_next_batch() {
    let rest = 1_000;
    for (over, expected) in [(0, "a b"), (1, "a")] {
        let mut gatherer = gatherer(false, 10, 5);
        gatherer.add(START, [of_bytes("a", MAX_EVENT_BYTES - rest)]);
        gatherer.add(START, [of_bytes("b", rest + ENVELOPE_BYTES + over), of_bytes("c", 50)]);
        // The first batch is full, so it is ready before its window ends.
        let (ids, batch) = next(&mut gatherer, START);
        assert_eq!(ids, expected);
        assert!(crate::event::event(batch.unwrap().records()).len() <= MAX_EVENT_BYTES);
        assert!(gatherer.next_batch(START).is_none());
        assert_eq!(gatherer.waiting(), 3 - expected.split(' ').count());
    }
}

#[test]
fn message_too_large_for_any_event_is_a_batch_alone() {
    let mut gatherer = gatherer(false, 10, 0);
    gatherer.add(START, [of_bytes("a", MAX_EVENT_BYTES + 1), of_bytes("b", 50)]);
    let (ids, _batch) = next(&mut gatherer, START);
    assert_eq!(ids, "a");
    assert_eq!(next(&mut gatherer, START).0, "b");
}

#[test]
fn batches_are_limited_by_the_permits() {
    let mut gatherer = gatherer(false, 1, 0);
    assert_eq!((gatherer.room(3), gatherer.room(1)), (2, 1));
    gatherer.add(START, messages("a b c"));
    assert_eq!((gatherer.room(3), gatherer.batches()), (0, 3));
    let a = next(&mut gatherer, START).1.unwrap();
    let _b = next(&mut gatherer, START).1.unwrap();
    assert!(gatherer.next_batch(START).is_none());
    assert_eq!(gatherer.wake_at(), None, "only a finished batch brings a permit");
    assert!(gatherer.finish(a, &[0]).is_empty());
    assert_eq!(gatherer.wake_at(), Some(START));
    assert_eq!(next(&mut gatherer, START).0, "c");
}

#[test]
fn batch_may_mix_groups_and_a_group_in_flight_waits() {
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, messages("a1:a b1:b a2:a a3:a c1:c"));
    let (ids, first) = next(&mut gatherer, START);
    assert_eq!(ids, "a1 b1 a2");
    assert_eq!(next(&mut gatherer, START).0, "c1", "the rest of group a waits");
    assert!(gatherer.finish(first.unwrap(), &[]).is_empty());
    assert_eq!(next(&mut gatherer, START).0, "a3");
}

#[test]
fn tail_of_a_failed_group_is_released_and_other_groups_run() {
    let mut gatherer = gatherer(true, 2, 0);
    gatherer.add(START, messages("a1:a b1:b a2:a b2:b"));
    let batch = next(&mut gatherer, START).1.unwrap();
    assert_eq!(gatherer.wake_at(), None, "all waiting messages belong to groups in flight");
    assert_eq!(released(gatherer.finish(batch, &[0])), "a2");
    assert_eq!(next(&mut gatherer, START).0, "b2");
}

/// A handler's RetryAfter makes a message visible again while its neighbours still run.
#[test]
fn message_that_is_received_again_before_its_batch_ends_runs_next() {
    let numbered = |id: &str, number| Record::for_test(id, Some("a"), "{}").in_order(number);
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, [numbered("a1", 1), numbered("a2", 2)]);
    let batch = next(&mut gatherer, START).1.unwrap();
    gatherer.add(START, [numbered("a1", 1)]);
    assert_eq!((gatherer.wake_at(), gatherer.batches()), (None, 0), "its group is in flight");
    assert_eq!(released(gatherer.finish(batch, &[0, 1])), "", "no retried message precedes a1");
    assert_eq!(next(&mut gatherer, START).0, "a1");
}

#[test]
fn message_behind_a_missing_one_is_released_though_another_was_received_again() {
    let numbered = |id: &str, number| Record::for_test(id, Some("a"), "{}").in_order(number);
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, [numbered("a1", 1), numbered("a2", 2)]);
    let batch = next(&mut gatherer, START).1.unwrap();
    gatherer.add(START, [numbered("a1", 1), numbered("a3", 3)]);
    assert_eq!(released(gatherer.finish(batch, &[0, 1])), "a3", "a2 precedes it");
    assert_eq!(next(&mut gatherer, START).0, "a1");
}

#[test]
fn failure_on_a_standard_queue_holds_back_no_messages() {
    let mut gatherer = gatherer(false, 1, 0);
    gatherer.add(START, messages("a b"));
    let batch = next(&mut gatherer, START).1.unwrap();
    assert!(gatherer.finish(batch, &[0]).is_empty());
    assert_eq!(next(&mut gatherer, START).0, "b");
}

/// Enumerates every way to receive, batch, finish and fail up to five messages of up to three groups.
#[test]
fn every_small_case_keeps_groups_apart_and_in_order_and_loses_no_message() {
    let mut choices = Choices::default();
    let mut cases = 0;
    loop {
        Story::new(&mut choices).tell(&mut choices);
        cases += 1;
        if !choices.next_case() {
            break;
        }
    }
    assert!(cases > 50_000, "{cases}");
}

struct Story {
    size: usize,
    gatherer: Gatherer,
    to_receive: VecDeque<Record>,
    in_flight: Vec<Batch>,
    /// The numbers of the messages in batches so far, by group.
    went_out: [Vec<usize>; GROUPS],
    stopped: [bool; GROUPS],
    settled: usize,
    messages: usize,
}

const MESSAGES: usize = 5;
const GROUPS: usize = 3;

impl Story {
    fn new(choices: &mut Choices) -> Self {
        let size = [1, 2, 10][choices.of(3)];
        let messages = 1 + choices.of(MESSAGES);
        let mut groups_so_far = 0;
        let to_receive = (0..messages).map(|number| {
            // The names of groups make no difference, so a new group takes the next name.
            let group = choices.of((groups_so_far + 1).min(GROUPS));
            groups_so_far = groups_so_far.max(group + 1);
            Record::for_test(&number.to_string(), Some(&group.to_string()), "{}")
        });
        let to_receive = to_receive.collect();
        Self {
            size,
            gatherer: gatherer(true, i64::try_from(size).unwrap(), 0),
            to_receive,
            in_flight: Vec::new(),
            went_out: Default::default(),
            stopped: [false; GROUPS],
            settled: 0,
            messages,
        }
    }

    fn tell(mut self, choices: &mut Choices) {
        while !self.to_receive.is_empty() || !self.in_flight.is_empty() {
            let receives = !self.to_receive.is_empty() && (self.in_flight.is_empty() || choices.of(2) == 0);
            match receives {
                true => self.receive(choices),
                false => self.finish(choices),
            }
            while let Some(batch) = self.gatherer.next_batch(START) {
                self.check(&batch);
                self.in_flight.push(batch);
            }
            assert!(self.in_flight.len() <= 2, "more batches than permits");
        }
        assert_eq!(self.gatherer.waiting(), 0, "a message is stuck");
        assert_eq!(self.settled, self.messages, "a message is lost");
    }

    fn receive(&mut self, choices: &mut Choices) {
        // One receive returns either all remaining messages or one.
        let count = if choices.of(2) == 0 { self.to_receive.len() } else { 1 };
        let received: Vec<_> = self.to_receive.drain(..count).collect();
        // SQS delivers no message of a group while an earlier one waits for its retry.
        let (stopped, received): (Vec<_>, Vec<_>) = received.into_iter().partition(|each| self.stopped[group(each)]);
        self.settled += stopped.len();
        self.gatherer.add(START, received);
    }

    fn finish(&mut self, choices: &mut Choices) {
        let batch = self.in_flight.remove(choices.of(self.in_flight.len()));
        // The batch fails from one of its messages on, or not at all.
        let fails_from = choices.of(batch.records().len() + 1);
        let come_back: Vec<_> = (fails_from..batch.records().len()).collect();
        for &position in &come_back {
            self.stopped[group(&batch.records()[position])] = true;
        }
        self.settled += batch.records().len();
        let released = self.gatherer.finish(batch, &come_back);
        assert!(
            released.iter().all(|waiting| self.stopped[group(&waiting.record)]),
            "a group without a failure is released"
        );
        self.settled += released.len();
    }

    fn check(&mut self, batch: &Batch) {
        assert!((1..=self.size).contains(&batch.records().len()));
        for record in batch.records() {
            let group = group(record);
            let in_flight = self.in_flight.iter().flat_map(Batch::records);
            assert!(in_flight.into_iter().all(|other| other.group() != record.group()), "the group is in two batches");
            assert!(!self.stopped[group], "the message overtakes a retried one");
            let number = record.message_id().parse().unwrap();
            assert!(
                self.went_out[group].last().is_none_or(|&last| last < number),
                "the message overtakes one of its group"
            );
            self.went_out[group].push(number);
        }
    }
}

fn group(record: &Record) -> usize {
    record.group().unwrap().parse().unwrap()
}

/// Enumerates all sequences of choices. A choice may depend on earlier ones.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// Returns a number in `0..count`.
    fn of(&mut self, count: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, count));
        }
        self.at += 1;
        self.made[self.at - 1].0
    }

    fn next_case(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, count)) = self.made.pop() {
            if choice + 1 < count {
                self.made.push((choice + 1, count));
                return true;
            }
        }
        false
    }
}
