//! Tests that `on_settled` is called once for each record with its final state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Body, Consumer, Json, Outcome, SettledAs};

use crate::kit::{
    INTENDED, answer, answer_within, event, fifo_record, on_paused_clock, quiet_intended_panics, record, with_attribute,
};

/// Id, receive count, outcome and error.
type Line = (String, Option<u32>, SettledAs, Option<String>);

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Line>>>);

impl Told {
    fn listen<K>(&self, consumer: Consumer<K>) -> Consumer<K> {
        let told = self.0.clone();
        consumer.on_settled(move |settled| {
            let id = settled.message_id().expect("an id").into_owned();
            let error = settled.error().map(str::to_owned);
            told.lock().unwrap().push((id, settled.receive_count(), settled.outcome(), error));
        })
    }

    /// Returns the lines sorted by id, because records of a standard queue end in any order.
    fn lines(&self) -> Vec<Line> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort_by(|one, other| one.0.cmp(&other.0));
        lines
    }

    fn outcomes(&self) -> Vec<(String, SettledAs)> {
        self.lines().into_iter().map(|(id, _, outcome, _)| (id, outcome)).collect()
    }
}

fn outcomes(expected: &[(&str, SettledAs)]) -> Vec<(String, SettledAs)> {
    expected.iter().map(|(id, outcome)| ((*id).to_owned(), *outcome)).collect()
}

async fn by_number(Json(number): Json<u32>) -> anyhow::Result<Outcome> {
    match number {
        0 => Ok(Outcome::Done),
        1 => Err(anyhow::anyhow!("disk full").context("cannot store")),
        2 => panic!("{INTENDED}"),
        3 => Ok(Outcome::Discard("of no use".into())),
        4 => Ok(Outcome::RetryAfter(Duration::from_secs(60))),
        _ => Ok(Outcome::DeadLetter("poison".into())),
    }
}

fn batch() -> Vec<serde_json::Value> {
    let bodies = ["0", "1", "2", "3", "4", "5", "x"];
    bodies.map(|body| with_attribute(record(body, body), "ApproximateReceiveCount", "2")).into()
}

#[tokio::test]
async fn listener_is_called_once_for_each_record() {
    quiet_intended_panics();
    let told = Told::default();
    let consumer = told.listen(redrive::handler(by_number));
    answer(&consumer, event(batch())).await.unwrap();
    let expected = [
        ("0", SettledAs::Done),
        ("1", SettledAs::Retried),
        ("2", SettledAs::Panicked),
        ("3", SettledAs::Discarded),
        // Without effects no delay and no dead letter is sent, so both are retried.
        ("4", SettledAs::Retried),
        ("5", SettledAs::Retried),
        ("x", SettledAs::Malformed),
    ];
    assert_eq!(told.outcomes(), outcomes(&expected));
    let lines = told.lines();
    assert!(lines.iter().all(|(_, receive_count, ..)| *receive_count == Some(2)));
    let error = |position: usize| lines[position].3.as_deref();
    assert_eq!((error(0), error(1)), (None, Some("cannot store: disk full")));
    assert!(error(2).unwrap().contains(INTENDED));
    assert_eq!((error(3), error(4), error(5)), (Some("of no use"), None, Some("poison")));
    assert!(error(6).unwrap().contains("malformed"));
}

#[tokio::test]
async fn listener_is_called_for_each_record_of_a_batch_handler() {
    async fn first_only(bodies: Vec<Body>) -> Vec<Outcome> {
        bodies.iter().map(|body| if body.0 == "1" { Outcome::Retry } else { Outcome::Done }).take(2).collect()
    }
    let told = Told::default();
    let consumer = told.listen(redrive::batch(first_only));
    answer(&consumer, event(["1", "2", "3"].map(|id| record(id, id)))).await.unwrap();
    let expected = [("1", SettledAs::Retried), ("2", SettledAs::Done), ("3", SettledAs::Retried)];
    assert_eq!(told.outcomes(), outcomes(&expected));
}

#[tokio::test]
async fn tail_of_a_failed_group_is_settled_as_not_run() {
    async fn by_body(Body(body): Body) -> Outcome {
        if body == "fail" { Outcome::Retry } else { Outcome::Done }
    }
    let told = Told::default();
    let consumer = told.listen(redrive::handler(by_body));
    let batch = [("1", "ok"), ("2", "fail"), ("3", "ok")].map(|(id, body)| fifo_record(id, "a", body));
    answer(&consumer, event(batch)).await.unwrap();
    let expected = [("1", SettledAs::Done), ("2", SettledAs::Retried), ("3", SettledAs::NotRun)];
    assert_eq!(told.outcomes(), outcomes(&expected));
}

#[tokio::test]
async fn listener_is_called_once_for_a_duplicate_message() {
    let told = Told::default();
    let consumer = told.listen(redrive::handler(|_: Body| async {}));
    answer(&consumer, event([record("1", "a"), record("1", "a")])).await.unwrap();
    assert_eq!(told.outcomes(), outcomes(&[("1", SettledAs::Done)]));
}

#[test]
fn listener_is_called_once_for_a_cut_off_record() {
    on_paused_clock(async {
        let told = Told::default();
        let consumer = told.listen(redrive::handler(|Body(body): Body| async move {
            if body == "hang" {
                std::future::pending::<()>().await;
            }
        }));
        let batch = [record("1", "ok"), record("2", "hang")];
        answer_within(&consumer, event(batch), Duration::from_secs(3)).await.unwrap();
        // The answer does not wait for the listener at the deadline.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(told.outcomes(), outcomes(&[("1", SettledAs::Done), ("2", SettledAs::CutOff)]));
    });
}

#[test]
fn duration_is_the_time_of_the_run() {
    on_paused_clock(async {
        let durations = Arc::new(Mutex::new(Vec::new()));
        let noted = durations.clone();
        let consumer = redrive::handler(|_: Body| tokio::time::sleep(Duration::from_secs(2)))
            .on_settled(move |settled| noted.lock().unwrap().push(settled.duration()));
        answer(&consumer, event([record("1", "a")])).await.unwrap();
        let durations = durations.lock().unwrap();
        assert!(matches!(durations[..], [duration] if duration.as_millis() / 10 == 200), "{durations:?}");
    });
}

#[tokio::test]
async fn panic_in_a_listener_affects_neither_record_nor_listeners() {
    quiet_intended_panics();
    let told = Told::default();
    let panics = redrive::handler(|_: Body| async {}).on_settled(|_| panic!("{INTENDED}"));
    let consumer = told.listen(panics);
    let batch = [fifo_record("1", "a", ""), fifo_record("2", "a", "")];
    assert!(answer(&consumer, event(batch)).await.unwrap().is_empty());
    assert_eq!(told.outcomes(), outcomes(&[("1", SettledAs::Done), ("2", SettledAs::Done)]));
}
