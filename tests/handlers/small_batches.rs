//! Enumerates every small batch: up to four or five records, spread over groups in every way. Each record succeeds,
//! fails, panics or hangs, in each mode. The expected report is computed without code of the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Body, Consumer, Fifo, HandlerKind, MessageId, Outcome};
use serde_json::Value;

use crate::kit::{
    A_BATCH_MAY_COME_IN_PARTS, INTENDED, LARGEST_BATCH, answer_within, event, fifo_record, on_paused_clock,
    quiet_intended_panics, record, with_attribute,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Done,
    Fails,
    Panics,
    Hangs,
}

use Behaviour::{Done, Fails, Hangs, Panics};

const BEHAVIOURS: [Behaviour; 4] = [Done, Fails, Panics, Hangs];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Standard,
    /// A standard queue whose messages have group ids, as those of fair queues do. It has no order, and a failure
    /// affects only its own record.
    Fair,
    StopGroup,
    StopBatch,
}

const MODES: [Mode; 4] = [Mode::Standard, Mode::Fair, Mode::StopGroup, Mode::StopBatch];

/// Returns for each position whether its record must be reported.
fn must_be_reported(mode: Mode, groups: &[usize], batch: &[Behaviour]) -> Vec<bool> {
    let failed_before = |position: usize, same_line: &dyn Fn(usize) -> bool| {
        (0..=position).any(|earlier| same_line(earlier) && batch[earlier] != Done)
    };
    (0..batch.len())
        .map(|position| match mode {
            Mode::Standard | Mode::Fair => batch[position] != Done,
            Mode::StopGroup => failed_before(position, &|earlier| groups[earlier] == groups[position]),
            Mode::StopBatch => failed_before(position, &|_| true),
        })
        .collect()
}

/// Returns all ways to spread `len` records over groups. Group names do not matter, so each group is numbered by its
/// first appearance.
fn partitions(len: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for _ in 0..len {
        all = all
            .into_iter()
            .flat_map(|groups: Vec<usize>| {
                let next = groups.iter().max().map_or(0, |max| max + 1);
                (0..=next).map(move |group| [groups.as_slice(), &[group]].concat())
            })
            .collect();
    }
    all
}

/// Returns all sequences of `len` behaviours.
fn behaviours(len: usize) -> impl Iterator<Item = Vec<Behaviour>> {
    (0..4usize.pow(len as u32))
        .map(move |code| (0..len).map(|place| BEHAVIOURS[code / 4usize.pow(place as u32) % 4]).collect())
}

/// The log of the handlers: which records ran, in which order, and which succeeded.
type Log = Arc<Mutex<Vec<(String, &'static str)>>>;

fn consumer(log: &Log) -> Consumer<impl HandlerKind> {
    let log = log.clone();
    redrive::handler(move |MessageId(id): MessageId, Body(body): Body| {
        let log = log.clone();
        async move {
            log.lock().unwrap().push((id.clone(), "began"));
            match body.as_str() {
                "Fails" => return Outcome::Retry,
                "Panics" => panic!("{INTENDED}"),
                "Hangs" => std::future::pending().await,
                _ => {}
            }
            log.lock().unwrap().push((id, "done"));
            Outcome::Done
        }
    })
}

fn batch_of(mode: Mode, ids: &[usize], groups: &[usize], batch: &[Behaviour]) -> Vec<Value> {
    let records = ids.iter().zip(groups).zip(batch);
    records
        .map(|((id, group), behaviour)| {
            let (id, group, body) = (format!("m{id}"), format!("g{group}"), format!("{behaviour:?}"));
            match mode {
                Mode::Standard => record(&id, &body),
                Mode::Fair => with_attribute(record(&id, &body), "MessageGroupId", &group),
                Mode::StopGroup | Mode::StopBatch => fifo_record(&id, &group, &body),
            }
        })
        .collect()
}

fn fifo_of(mode: Mode) -> Fifo {
    if mode == Mode::StopBatch { Fifo::StopBatch } else { Fifo::StopGroup }
}

/// Asserts that a record of a FIFO queue started only after all earlier records of its line succeeded.
fn assert_order(mode: Mode, log: &[(String, &str)], groups: &[usize], context: &str) {
    let one_line = vec![0; groups.len()];
    let groups = match mode {
        Mode::Standard | Mode::Fair => return,
        Mode::StopGroup => groups,
        Mode::StopBatch => &one_line,
    };
    let mut done_of_group: HashMap<usize, Vec<usize>> = HashMap::new();
    for (id, what) in log {
        let position: usize = id[1..].parse().unwrap();
        let group = groups[position];
        if *what == "done" {
            done_of_group.entry(group).or_default().push(position);
            continue;
        }
        let before: Vec<usize> = (0..position).filter(|&earlier| groups[earlier] == group).collect();
        assert_eq!(
            done_of_group.get(&group).cloned().unwrap_or_default(),
            before,
            "{context}: m{position} started too early"
        );
    }
}

#[test]
fn exactly_the_failed_records_are_reported() {
    quiet_intended_panics();
    on_paused_clock(async {
        for mode in MODES {
            let log = Log::default();
            let consumer = consumer(&log).fifo(fifo_of(mode));
            for len in 1..=LARGEST_BATCH {
                let ids: Vec<usize> = (0..len).collect();
                // Without groups there is only one partition.
                let partitions = if mode == Mode::Standard { vec![vec![0; len]] } else { partitions(len) };
                for groups in &partitions {
                    for batch in behaviours(len) {
                        log.lock().unwrap().clear();
                        let records = batch_of(mode, &ids, groups, &batch);
                        let reported = answer_within(&consumer, event(records), Duration::from_secs(3)).await.unwrap();
                        let context = format!("{mode:?}, groups {groups:?}, {batch:?}");
                        let must = must_be_reported(mode, groups, &batch);
                        let must: Vec<String> = ids.iter().filter(|&&id| must[id]).map(|id| format!("m{id}")).collect();
                        assert_eq!(reported, must, "{context}");
                        assert_order(mode, &log.lock().unwrap(), groups, &context);
                    }
                }
            }
        }
    });
}

/// With one record at a time, a record that hangs keeps others from running. Exactly the records that did not succeed
/// are reported.
#[test]
fn records_that_did_not_succeed_one_at_a_time_are_reported() {
    quiet_intended_panics();
    on_paused_clock(async {
        for mode in MODES {
            let log = Log::default();
            let consumer = consumer(&log).fifo(fifo_of(mode)).concurrency(1);
            for len in 1..=4 {
                let ids: Vec<usize> = (0..len).collect();
                for groups in &partitions(len) {
                    for batch in behaviours(len) {
                        log.lock().unwrap().clear();
                        let records = batch_of(mode, &ids, groups, &batch);
                        let reported = answer_within(&consumer, event(records), Duration::from_secs(3)).await.unwrap();
                        let context = format!("{mode:?}, groups {groups:?}, {batch:?}");
                        let log = log.lock().unwrap();
                        let done = |id: &String| log.iter().any(|(done, what)| done == id && *what == "done");
                        let must: Vec<String> = ids.iter().map(|id| format!("m{id}")).filter(|id| !done(id)).collect();
                        assert_eq!(reported, must, "{context}");
                        let hung = batch.iter().position(|&behaviour| behaviour == Hangs);
                        // A host that delivers a batch in parts may have run a record behind a failure of another part.
                        let in_parts = A_BATCH_MAY_COME_IN_PARTS && mode == Mode::StopBatch;
                        if hung.is_none() && !in_parts {
                            let must = must_be_reported(mode, groups, &batch);
                            let must: Vec<String> =
                                ids.iter().filter(|&&id| must[id]).map(|id| format!("m{id}")).collect();
                            assert_eq!(reported, must, "{context}: a record that could run did not run");
                        }
                        let all_could_run = hung.is_none() && matches!(mode, Mode::Standard | Mode::Fair);
                        assert!(
                            !all_could_run || log.iter().filter(|(_, what)| *what == "began").count() == len,
                            "{context}"
                        );
                        if !in_parts {
                            assert_order(mode, &log, groups, &context);
                        }
                    }
                }
            }
        }
    });
}

/// A message that occurs several times in a batch runs once, and is reported once or not at all.
#[test]
fn duplicate_message_runs_once() {
    quiet_intended_panics();
    on_paused_clock(async {
        for mode in [Mode::Standard, Mode::Fair, Mode::StopGroup, Mode::StopBatch] {
            let log = Log::default();
            let consumer = consumer(&log).fifo(fifo_of(mode));
            for len in 2..=LARGEST_BATCH {
                // Here a partition groups the copies of a message. Copies behave alike.
                for ids in &partitions(len) {
                    let messages = ids.iter().max().unwrap() + 1;
                    for of_message in behaviours(messages) {
                        log.lock().unwrap().clear();
                        let batch: Vec<Behaviour> = ids.iter().map(|&id| of_message[id]).collect();
                        let records = batch_of(mode, ids, &vec![0; len], &batch);
                        let reported = answer_within(&consumer, event(records), Duration::from_secs(3)).await.unwrap();
                        let context = format!("{mode:?}, ids {ids:?}, {batch:?}");
                        // Messages are numbered by their first appearance, so this is the batch without its copies.
                        let must = must_be_reported(mode, &vec![0; messages], &of_message);
                        let must: Vec<String> =
                            (0..messages).filter(|&id| must[id]).map(|id| format!("m{id}")).collect();
                        assert_eq!(reported, must, "{context}");
                        let log = log.lock().unwrap();
                        for id in 0..messages {
                            let runs =
                                log.iter().filter(|(began, what)| *began == format!("m{id}") && *what == "began");
                            assert!(runs.count() <= 1, "{context}: m{id} ran more than once");
                        }
                    }
                }
            }
        }
    });
}
