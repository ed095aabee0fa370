//! Tests the log of a batch, a record and a failure. Bodies are never logged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use redrive::{Body, Json, Outcome};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::kit::{
    INTENDED, answer, answer_within, event, fifo_record, on_paused_clock, quiet_intended_panics, record, with_attribute,
};

type Fields = BTreeMap<&'static str, String>;

/// A span or an event.
#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    level: Level,
    fields: Fields,
    /// The name and the fields of the innermost span around it.
    within: Option<(&'static str, Fields)>,
}

#[derive(Clone, Default)]
struct Log {
    events: Arc<Mutex<Vec<Entry>>>,
    spans: Arc<Mutex<Vec<Entry>>>,
}

struct FieldsOf<'a>(&'a mut Fields);

impl Visit for FieldsOf<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Log {
    fn entry(metadata: &'static Metadata<'static>, fields: Fields, within: Option<(&'static str, Fields)>) -> Entry {
        Entry { name: metadata.name(), level: *metadata.level(), fields, within }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToLogOfThread {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut FieldsOf(&mut fields));
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(fields);
        if let Some(log) = log_of_thread() {
            span.extensions_mut().insert(log);
        }
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut FieldsOf(span.extensions_mut().get_mut().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut FieldsOf(&mut fields));
        let within =
            context.event_span(event).map(|span| (span.name(), span.extensions().get::<Fields>().unwrap().clone()));
        // An event from a thread without a log belongs to the log of its span.
        let of_span = context.event_span(event).and_then(|span| span.extensions().get::<Log>().cloned());
        if let Some(log) = log_of_thread().or(of_span) {
            log.events.lock().unwrap().push(Log::entry(event.metadata(), fields, within));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions().get::<Fields>().unwrap().clone();
        let within = span.parent().map(|parent| (parent.name(), Fields::new()));
        let of_span = span.extensions().get::<Log>().cloned();
        if let Some(log) = log_of_thread().or(of_span) {
            log.spans.lock().unwrap().push(Log::entry(span.metadata(), fields, within));
        }
    }
}

thread_local! {
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Runs a test's future on this thread and returns the thread's log.
///
/// All tests share one subscriber, because tracing caches each callsite's interest. It forwards to the log of the
/// thread.
fn logged(test: impl Future<Output = ()>) -> Log {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Registry::default().with(ToLogOfThread)).unwrap());
    let log = Log::default();
    LOG.set(Some(log.clone()));
    on_paused_clock(test);
    LOG.set(None);
    log
}

struct ToLogOfThread;

fn log_of_thread() -> Option<Log> {
    LOG.with_borrow(Clone::clone)
}

impl Log {
    fn events(&self, level: Level) -> Vec<Entry> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| event.level == level).cloned().collect()
    }

    fn spans(&self, name: &str) -> Vec<Entry> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).map(String::as_str)
}

async fn by_body(Body(body): Body) -> anyhow::Result<Outcome> {
    match body.as_str() {
        "fail" => Err(anyhow::anyhow!("disk full").context("cannot store")),
        "panic" => panic!("{INTENDED}"),
        "discard" => Ok(Outcome::Discard("of no use".into())),
        "hang" => std::future::pending().await,
        _ => Ok(Outcome::Done),
    }
}

#[test]
fn batch_and_each_record_have_a_span() {
    quiet_intended_panics();
    let log = logged(async {
        let bodies = ["ok", "fail", "panic", "discard", "hang"];
        let batch = bodies.map(|body| fifo_record(body, body, body));
        answer_within(&redrive::handler(by_body), event(batch), Duration::from_secs(3)).await.unwrap();
        // A handler that was cut off is dropped at its next turn and logged on another thread.
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let batch = &log.spans("batch")[0];
    assert_eq!(field(&batch.fields, "queue"), Some(crate::kit::FIFO));
    assert_eq!(field(&batch.fields, "records"), Some("5"));
    assert_eq!(field(&batch.fields, "failed"), Some("3"));
    let records = log.spans("record");
    let outcomes: BTreeMap<_, _> = records
        .iter()
        .map(|record| (field(&record.fields, "message_id").unwrap(), field(&record.fields, "outcome").unwrap()))
        .collect();
    let expected = [("ok", "done"), ("fail", "retry"), ("panic", "panic"), ("discard", "discard"), ("hang", "cut_off")];
    assert_eq!(outcomes, BTreeMap::from(expected));
    for record in &records {
        assert_eq!(record.within.as_ref().unwrap().0, "batch");
        assert_eq!(field(&record.fields, "receive_count"), Some("1"));
        assert_eq!(field(&record.fields, "group"), field(&record.fields, "message_id"));
        assert!(field(&record.fields, "duration_ms").unwrap().parse::<f64>().is_ok());
    }
}

#[test]
fn failed_record_has_one_error_event_with_all_causes() {
    let log = logged(async {
        let batch = [record("1", "ok"), record("2", "fail"), record("3", "ok")];
        answer(&redrive::handler(by_body), event(batch)).await.unwrap();
    });
    let errors = log.events(Level::ERROR);
    assert_eq!(errors.len(), 1);
    assert_eq!(field(&errors[0].fields, "error"), Some("cannot store: disk full"));
    let (span, fields) = errors[0].within.as_ref().unwrap();
    assert_eq!((*span, field(fields, "message_id")), ("record", Some("2")));
}

#[test]
fn panic_is_logged_with_its_message() {
    quiet_intended_panics();
    let log = logged(async {
        answer(&redrive::handler(by_body), event([record("1", "panic")])).await.unwrap();
    });
    let errors = log.events(Level::ERROR);
    assert_eq!(errors.len(), 1);
    assert!(field(&errors[0].fields, "error").unwrap().contains(INTENDED));
}

#[test]
fn record_is_warned_about_from_the_receive_count() {
    let received = |count: &str| with_attribute(record(count, "ok"), "ApproximateReceiveCount", count);
    let warned_of = |from: Option<u32>| {
        let log = logged(async move {
            let consumer = redrive::handler(by_body);
            let consumer = from.into_iter().fold(consumer, |consumer, from| consumer.warn_from_receive_count(from));
            let batch = ["1", "2", "3", "4", "5", "odd"].map(received);
            answer(&consumer, event(batch)).await.unwrap();
        });
        let warnings = log.events(Level::WARN);
        warnings.iter().map(|warning| field(&warning.fields, "receive_count").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warned_of(None), ["3", "4", "5"]);
    assert_eq!(warned_of(Some(5)), ["5"]);
}

#[test]
fn outcome_that_needs_effects_logs_a_warning() {
    let log = logged(async {
        let consumer = redrive::handler(|Body(body): Body| async move {
            match body.as_str() {
                "later" => Outcome::RetryAfter(Duration::from_secs(60)),
                _ => Outcome::DeadLetter("poison".into()),
            }
        });
        answer(&consumer, event([record("1", "later"), record("2", "never")])).await.unwrap();
    });
    let warnings = log.events(Level::WARN);
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| { field(&warning.fields, "message").unwrap().contains("needs `.effects") }));
}

#[test]
fn records_that_were_not_run_are_logged_with_the_reason() {
    let log = logged(async {
        let batch = [fifo_record("1", "a", "fail"), fifo_record("2", "a", "ok")];
        answer(&redrive::handler(by_body), event(batch)).await.unwrap();
        let batch = [record("1", "hang"), record("2", "ok")];
        answer_within(&redrive::handler(by_body).concurrency(1), event(batch), Duration::from_secs(3)).await.unwrap();
        // The log is written after the answer. The paused clock stands still meanwhile.
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let errors = log.events(Level::ERROR);
    assert_eq!(field(&errors[1].fields, "error"), Some("cut off at the deadline"));
    assert_eq!(field(&errors[1].fields, "message_id"), Some("1"));
    let warnings = log.events(Level::WARN);
    assert_eq!(warnings.len(), 2);
    assert_eq!(field(&warnings[0].fields, "not_run"), Some("1"));
    assert_eq!(field(&warnings[1].fields, "not_run"), Some("1"));
    assert_eq!(field(&warnings[1].fields, "cut_off"), Some("1"));
    assert_eq!(warnings[1].within.as_ref().unwrap().0, "batch");
}

#[test]
fn bodies_are_never_logged() {
    const SECRET: &str = "4111-1111-1111-1111";
    let log = logged(async {
        let consumer = redrive::handler(|_: Json<u32>| async {});
        let bodies =
            [SECRET.to_owned(), format!("\"{SECRET}\""), format!("{{\"{SECRET}\": 1}}"), format!("[\"{SECRET}")];
        let batch = bodies.iter().enumerate().map(|(id, body)| record(&id.to_string(), body));
        let reported = answer(&consumer, event(batch)).await.unwrap();
        assert_eq!(reported.len(), bodies.len());
    });
    assert_eq!(log.events(Level::ERROR).len(), 4);
    let all = format!("{:?} {:?}", log.events.lock().unwrap(), log.spans.lock().unwrap());
    assert!(!all.contains("4111"), "{all}");
}

#[test]
fn discarded_record_is_logged_with_its_reason() {
    let log = logged(async {
        answer(&redrive::handler(by_body), event([record("1", "discard")])).await.unwrap();
        let done = redrive::handler(by_body).classify(|_| Outcome::Done);
        answer(&done, event([record("2", "fail")])).await.unwrap();
    });
    let infos = log.events(Level::INFO);
    assert_eq!(infos.len(), 2);
    assert_eq!(field(&infos[0].fields, "reason"), Some("of no use"));
    assert_eq!(field(&infos[0].fields, "message_id"), Some("1"));
    assert_eq!(field(&infos[1].fields, "error"), Some("cannot store: disk full"));
    assert_eq!(field(&infos[1].fields, "message_id"), Some("2"));
}

#[test]
fn each_failure_has_one_error_event() {
    let log = logged(async {
        let consumer = redrive::handler(|Body(body): Body| async move {
            match body.as_str() {
                "later" => Outcome::RetryAfter(Duration::from_secs(60)),
                "never" => Outcome::DeadLetter("poison".into()),
                _ => Outcome::Retry,
            }
        });
        answer(&consumer, event(["later", "never", "again"].map(|body| record(body, body)))).await.unwrap();
    });
    let errors = log.events(Level::ERROR);
    assert_eq!(errors.len(), 3);
    assert_eq!(field(&errors[0].fields, "delay"), Some("60s"));
    assert_eq!(field(&errors[1].fields, "reason"), Some("poison"));
    assert_eq!(field(&errors[2].fields, "error"), Some("the handler asks for a retry"));
}

#[test]
fn failed_chunk_is_logged_for_each_record() {
    quiet_intended_panics();
    async fn by_first(bodies: Vec<Body>) -> anyhow::Result<()> {
        assert!(bodies[0].0 != "panic", "{INTENDED}");
        Err(anyhow::anyhow!("disk full"))
    }
    let batch = |body: &str| event(["1", "2"].map(|id| record(id, body)));
    let errors = |body: &'static str| {
        let log = logged(async move {
            answer(&redrive::batch(by_first), batch(body)).await.unwrap();
        });
        let errors = log.events(Level::ERROR);
        let ids: Vec<_> = errors.iter().map(|error| error.within.as_ref().unwrap().1["message_id"].clone()).collect();
        assert_eq!(ids, ["1", "2"]);
        field(&errors[1].fields, "error").unwrap().to_owned()
    };
    assert!(errors("fail").ends_with(": disk full"));
    assert!(errors("panic").contains(INTENDED));
}

#[test]
fn rejection_is_logged_with_its_cause() {
    let log = logged(async {
        answer(&redrive::handler(|_: Json<u32>| async {}), event([record("1", "\"x\"")])).await.unwrap();
    });
    let expected = "the record's body is malformed: invalid type: string, expected u32 at line 1 column 3";
    assert_eq!(field(&log.events(Level::ERROR)[0].fields, "error"), Some(expected));
}

#[test]
fn warning_is_inside_the_span_of_its_record() {
    let log = logged(async {
        let received = with_attribute(record("1", "ok"), "ApproximateReceiveCount", "3");
        answer(&redrive::handler(by_body), event([received])).await.unwrap();
    });
    assert_eq!(log.events(Level::WARN)[0].within.as_ref().unwrap().0, "record");
}
