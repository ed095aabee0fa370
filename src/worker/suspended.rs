//! Tests a worker in a process that is suspended: its clocks diverge, and only the wall clock is right.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use tokio::time::{Instant, sleep, timeout};

use crate::extract::Body;
use crate::moment::set_wall_clock_ahead;
use redrive_local::Sqs;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The notes of handlers, each with its time in seconds.
#[derive(Clone)]
struct Notes {
    since: Instant,
    all: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Notes {
    fn add(&self, note: String) {
        self.all.lock().unwrap().push((note, self.since.elapsed().as_secs()));
    }

    fn all(&self) -> Vec<(String, u64)> {
        self.all.lock().unwrap().clone()
    }
}

/// Adds a note when it is dropped.
struct NoteOnDrop(Notes, String);

impl Drop for NoteOnDrop {
    fn drop(&mut self) {
        self.0.add(format!("{} ends", self.1));
    }
}

/// Runs a worker on a queue with these messages, whose handler takes `takes`. After 5.5 s the process sleeps for
/// `asleep`. Returns the notes of 40 s of the worker's own time, and how many messages are then visible and in flight.
async fn asleep_for(
    asleep: Duration,
    name: &str,
    bodies: &[&str],
    takes: Duration,
) -> (Vec<(String, u64)>, (usize, usize)) {
    let sqs = Sqs::with_seed(1);
    let client = sqs.client();
    let mut create = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        create = create.attributes(Name::FifoQueue, "true").attributes(Name::ContentBasedDeduplication, "true");
    }
    let url = create.send().await.unwrap().queue_url.unwrap();
    for body in bodies {
        let send = client.send_message().queue_url(&url).message_body(*body);
        let send = if name.ends_with(".fifo") { send.message_group_id("g") } else { send };
        send.send().await.unwrap();
    }
    let notes = Notes { since: Instant::now(), all: Arc::default() };
    let noted = notes.clone();
    let place = move |Body(body): Body| {
        let notes = noted.clone();
        async move {
            let first = !notes.all().iter().any(|(note, _)| *note == format!("{body} begins"));
            notes.add(format!("{body} begins"));
            let _runs = NoteOnDrop(notes, body);
            if first {
                sleep(takes).await;
            }
        }
    };
    let worker = crate::handler(place).worker(client.clone(), &url);
    let sleeps = async {
        sleep(5 * SECOND + SECOND / 2).await;
        set_wall_clock_ahead(asleep);
        std::future::pending::<()>().await;
    };
    let work = worker.run_until(std::future::pending());
    let both = async { tokio::join!(work, sleeps) };
    assert!(timeout(40 * SECOND, both).await.is_err());
    let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
    let get = client.get_queue_attributes().queue_url(&url).set_attribute_names(Some(names.to_vec()));
    let attributes = get.send().await.unwrap().attributes.unwrap();
    let count = |name| attributes[name].parse().unwrap();
    (notes.all(), (count(&names[0]), count(&names[1])))
}

fn note(text: &str, at: u64) -> (String, u64) {
    (text.to_owned(), at)
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_lease_ended_during_a_suspension_is_cancelled_at_once() {
    let (notes, _) = asleep_for(HOUR, "orders", &["a"], HOUR).await;
    assert_eq!(
        notes[..2],
        [note("a begins", 0), note("a ends", 6)],
        "another consumer may have the message, so no heartbeat extends it"
    );
    assert_eq!(notes[2], note("a begins", 30), "the in-process queue did not sleep and hands the message out again");
}

#[tokio::test(start_paused = true)]
async fn a_short_suspension_loses_no_lease() {
    let (notes, counts) = asleep_for(12 * SECOND, "orders", &["a"], 35 * SECOND).await;
    assert_eq!((notes, counts), (vec![note("a begins", 0), note("a ends", 35)], (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_group_does_not_run_if_its_leases_ended_during_a_suspension() {
    // The handler of the first message ends at the moment at which the process resumes.
    let (notes, _) = asleep_for(HOUR, "orders.fifo", &["a", "b", "c"], 5 * SECOND + SECOND / 2 + SECOND / 10).await;
    let begun_early: Vec<_> = notes.iter().filter(|(text, at)| text.ends_with("begins") && *at < 30).collect();
    assert_eq!(begun_early, [&note("a begins", 0)]);
}
