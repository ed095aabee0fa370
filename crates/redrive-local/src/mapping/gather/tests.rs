use super::*;
use crate::mapping::config::{BatchSize, MaximumConcurrency, Window};

fn gatherer(is_fifo: bool, size: i64, window: i64) -> Gatherer {
    let batching = Batching::new(is_fifo, BatchSize::new(size).unwrap(), Window::new(window).unwrap()).unwrap();
    Gatherer::new(batching, Permits::new(MaximumConcurrency::new(2).ok()))
}

/// Messages by their ids, and after a colon their group: `"a:g b:h c"`.
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

fn let_go(waiting: Vec<Waiting>) -> String {
    ids(&waiting.into_iter().map(|waiting| waiting.record).collect::<Vec<_>>())
}

/// The ids of the next batch, or nothing.
fn next(gatherer: &mut Gatherer, now: Duration) -> (String, Option<Batch>) {
    let batch = gatherer.next_batch(now);
    (batch.as_ref().map(|batch| ids(batch.records())).unwrap_or_default(), batch)
}

const START: Duration = Duration::from_secs(100);

fn after(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

#[test]
fn without_a_window_what_one_receive_returned_goes_out_at_once() {
    let mut gatherer = gatherer(false, 10, 0);
    gatherer.add(START, messages("a b c"));
    assert_eq!(gatherer.wake_at(), Some(START));
    let (ids, _batch) = next(&mut gatherer, START);
    assert_eq!((ids.as_str(), gatherer.waiting(), gatherer.wake_at()), ("a b c", 0, None));
    assert!(gatherer.next_batch(START).is_none());
}

#[test]
fn the_window_is_measured_from_the_first_message() {
    let mut gatherer = gatherer(false, 10, 5);
    gatherer.add(START, messages("a"));
    gatherer.add(after(4), messages("b"));
    assert_eq!(gatherer.wake_at(), Some(after(5)));
    assert!(gatherer.next_batch(after(5) - Duration::from_nanos(1)).is_none());
    assert_eq!(next(&mut gatherer, after(5)).0, "a b");
}

#[test]
fn a_full_batch_does_not_wait_and_the_rest_keeps_its_own_window() {
    let mut gatherer = gatherer(false, 2, 5);
    gatherer.add(START, messages("a"));
    gatherer.add(after(3), messages("b c"));
    let (ids, _batch) = next(&mut gatherer, after(3));
    assert_eq!(ids, "a b");
    assert!(gatherer.next_batch(after(7)).is_none());
    assert_eq!(gatherer.wake_at(), Some(after(8)));
    assert_eq!(next(&mut gatherer, after(8)).0, "c");
}

/// A record whose event alone has this many bytes.
fn of_bytes(id: &str, event_bytes: usize) -> Record {
    let record = Record::for_test(id, None, &"x".repeat(event_bytes - ENVELOPE_BYTES - 1));
    assert_eq!(ENVELOPE_BYTES + record.added_bytes(), event_bytes);
    record
}

#[test]
fn the_message_that_would_take_the_event_over_6_mb_begins_the_next_batch() {
    let rest = 1_000;
    for (over, expected) in [(0, "a b"), (1, "a")] {
        let mut gatherer = gatherer(false, 10, 5);
        gatherer.add(START, [of_bytes("a", MAX_EVENT_BYTES - rest)]);
        gatherer.add(START, [of_bytes("b", rest + ENVELOPE_BYTES + over), of_bytes("c", 50)]);
        // Full, and so before its window ends.
        let (ids, batch) = next(&mut gatherer, START);
        assert_eq!(ids, expected);
        assert!(crate::event::event(batch.unwrap().records()).len() <= MAX_EVENT_BYTES);
        assert!(gatherer.next_batch(START).is_none());
        assert_eq!(gatherer.waiting(), 3 - expected.split(' ').count());
    }
}

#[test]
fn a_message_too_large_for_any_event_goes_out_alone() {
    let mut gatherer = gatherer(false, 10, 0);
    gatherer.add(START, [of_bytes("a", MAX_EVENT_BYTES + 1), of_bytes("b", 50)]);
    let (ids, _batch) = next(&mut gatherer, START);
    assert_eq!(ids, "a");
    assert_eq!(next(&mut gatherer, START).0, "b");
}

#[test]
fn no_more_batches_go_out_than_there_are_permits() {
    let mut gatherer = gatherer(false, 1, 0);
    assert_eq!((gatherer.room(3), gatherer.room(1)), (2, 1));
    gatherer.add(START, messages("a b c"));
    assert_eq!((gatherer.room(3), gatherer.batches()), (0, 3));
    let a = next(&mut gatherer, START).1.unwrap();
    let _b = next(&mut gatherer, START).1.unwrap();
    assert!(gatherer.next_batch(START).is_none());
    assert_eq!(gatherer.wake_at(), None, "no time brings a permit");
    assert!(gatherer.finish(a, &[0]).is_empty());
    assert_eq!(gatherer.wake_at(), Some(START));
    assert_eq!(next(&mut gatherer, START).0, "c");
}

#[test]
fn a_batch_may_mix_groups_and_a_group_in_flight_waits() {
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, messages("a1:a b1:b a2:a a3:a c1:c"));
    let (ids, first) = next(&mut gatherer, START);
    assert_eq!(ids, "a1 b1 a2");
    assert_eq!(next(&mut gatherer, START).0, "c1", "the rest of group a is passed over");
    assert!(gatherer.finish(first.unwrap(), &[]).is_empty());
    assert_eq!(next(&mut gatherer, START).0, "a3");
}

#[test]
fn behind_a_failure_its_group_is_let_go_and_no_other() {
    let mut gatherer = gatherer(true, 2, 0);
    gatherer.add(START, messages("a1:a b1:b a2:a b2:b"));
    let batch = next(&mut gatherer, START).1.unwrap();
    assert_eq!(gatherer.wake_at(), None, "all that wait are of groups in flight");
    assert_eq!(let_go(gatherer.finish(batch, &[0])), "a2");
    assert_eq!(next(&mut gatherer, START).0, "b2");
}

/// As a handler's RetryAfter makes it visible again while its neighbours still run.
#[test]
fn a_message_that_is_back_before_its_batch_ends_runs_next() {
    let numbered = |id: &str, number| Record::for_test(id, Some("a"), "{}").in_order(number);
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, [numbered("a1", 1), numbered("a2", 2)]);
    let batch = next(&mut gatherer, START).1.unwrap();
    gatherer.add(START, [numbered("a1", 1)]);
    assert_eq!((gatherer.wake_at(), gatherer.batches()), (None, 0), "its group is in flight");
    assert_eq!(let_go(gatherer.finish(batch, &[0, 1])), "", "nothing that comes back is before a1");
    assert_eq!(next(&mut gatherer, START).0, "a1");
}

#[test]
fn a_message_behind_one_that_comes_back_is_let_go_though_another_is_there() {
    let numbered = |id: &str, number| Record::for_test(id, Some("a"), "{}").in_order(number);
    let mut gatherer = gatherer(true, 3, 0);
    gatherer.add(START, [numbered("a1", 1), numbered("a2", 2)]);
    let batch = next(&mut gatherer, START).1.unwrap();
    gatherer.add(START, [numbered("a1", 1), numbered("a3", 3)]);
    assert_eq!(let_go(gatherer.finish(batch, &[0, 1])), "a3", "a2 is before it");
    assert_eq!(next(&mut gatherer, START).0, "a1");
}

#[test]
fn on_a_standard_queue_a_failure_stops_nothing() {
    let mut gatherer = gatherer(false, 1, 0);
    gatherer.add(START, messages("a b"));
    let batch = next(&mut gatherer, START).1.unwrap();
    assert!(gatherer.finish(batch, &[0]).is_empty());
    assert_eq!(next(&mut gatherer, START).0, "b");
}

/// Every way in which up to five messages of up to three groups can be received, batched, finished and failed.
#[test]
fn every_small_case_keeps_groups_apart_and_in_order_and_loses_nothing() {
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
    /// Per group, the numbers of messages that went out.
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
            // Which group is called what makes no difference: a new one takes the next name.
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
            assert!(self.in_flight.len() <= 2, "as many as there are permits");
        }
        assert_eq!(self.gatherer.waiting(), 0, "nothing is stuck");
        assert_eq!(self.settled, self.messages, "nothing is lost");
    }

    fn receive(&mut self, choices: &mut Choices) {
        // All that is left, or one.
        let count = if choices.of(2) == 0 { self.to_receive.len() } else { 1 };
        let received: Vec<_> = self.to_receive.drain(..count).collect();
        // SQS hands out nothing of a group while one before it is to come back.
        let (stopped, received): (Vec<_>, Vec<_>) = received.into_iter().partition(|each| self.stopped[group(each)]);
        self.settled += stopped.len();
        self.gatherer.add(START, received);
    }

    fn finish(&mut self, choices: &mut Choices) {
        let batch = self.in_flight.remove(choices.of(self.in_flight.len()));
        // From one of its messages on the batch fails, or from none.
        let fails_from = choices.of(batch.records().len() + 1);
        let come_back: Vec<_> = (fails_from..batch.records().len()).collect();
        for &position in &come_back {
            self.stopped[group(&batch.records()[position])] = true;
        }
        self.settled += batch.records().len();
        let let_go = self.gatherer.finish(batch, &come_back);
        assert!(
            let_go.iter().all(|waiting| self.stopped[group(&waiting.record)]),
            "only groups that failed are let go"
        );
        self.settled += let_go.len();
    }

    fn check(&mut self, batch: &Batch) {
        assert!((1..=self.size).contains(&batch.records().len()));
        for record in batch.records() {
            let group = group(record);
            let in_flight = self.in_flight.iter().flat_map(Batch::records);
            assert!(in_flight.into_iter().all(|other| other.group() != record.group()), "in two batches at once");
            assert!(!self.stopped[group], "overtakes one that comes back");
            let number = record.message_id().parse().unwrap();
            assert!(self.went_out[group].last().is_none_or(|&last| last < number), "overtakes one of its group");
            self.went_out[group].push(number);
        }
    }
}

fn group(record: &Record) -> usize {
    record.group().unwrap().parse().unwrap()
}

/// Goes through all sequences of choices, whatever the choices depend on.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// One of `0..count`.
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
