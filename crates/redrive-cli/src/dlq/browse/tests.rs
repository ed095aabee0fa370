use redrive_local::Sqs;

use super::*;
use crate::sqs::{Elsewhere, Found};

pub(in crate::dlq) async fn queue(sqs: &Sqs, name: &str) -> DeadLetterQueue {
    let client = sqs.client();
    let mut create = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        create = create.attributes("FifoQueue".into(), "true");
    }
    let url = create.send().await.unwrap().queue_url.unwrap();
    let found = Found { sqs: Elsewhere::here(client).unwrap(), name: name.to_owned(), url };
    DeadLetterQueue::at(found, true).await.unwrap()
}

async fn send(queue: &DeadLetterQueue) {
    queue.sqs.client.send_message().queue_url(&queue.url).message_body("a").send().await.unwrap();
}

async fn receive(session: &mut BrowseSession<'_>) -> Vec<DeadLetter> {
    session.receive(10, &Stop::told().1).await.unwrap().fresh
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn held_messages_stay_hidden_for_the_whole_run() {
    let queue = queue(&Sqs::with_seed(1), "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LIST_LEASE).await.unwrap();
    let id = receive(&mut session).await.remove(0).id;
    for _ in 0..11 {
        tokio::time::sleep(HOUR).await;
        assert_eq!(queue.counts().await.unwrap().hidden, 1);
    }
    assert!(session.delete(&[id]).await[0].1.is_ok());
    session.give_back().await.unwrap();
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.visible, counts.hidden), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn message_held_past_twelve_hours_is_deleted_by_its_new_receipt() {
    let queue = queue(&Sqs::with_seed(1), "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LEASE).await.unwrap();
    let id = receive(&mut session).await.remove(0).id;
    tokio::time::sleep(HOUR * 13).await;
    let deleted = session.delete(std::slice::from_ref(&id)).await;
    assert!(deleted[0].1.as_ref().unwrap_err().contains("no longer hidden"), "{deleted:?}");
    assert!(receive(&mut session).await.is_empty(), "it is not new");
    assert!(session.delete(&[id]).await[0].1.is_ok());
    assert_eq!(session.leases.count(), 0);
    session.give_back().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn receipt_that_may_be_too_old_deletes_nothing() {
    let sqs = Sqs::with_seed(1);
    let queue = queue(&sqs, "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LIST_LEASE).await.unwrap();
    let id = receive(&mut session).await.remove(0).id;
    // No lease can be extended while SQS does not answer.
    sqs.set_faults(redrive_local::Faults::none().lost_requests(1.0));
    tokio::time::sleep(LIST_LEASE - Duration::from_secs(20)).await;
    sqs.set_faults(redrive_local::Faults::none());
    let deleted = session.delete(&[id]).await;
    assert!(deleted[0].1.as_ref().unwrap_err().contains("no longer hidden"), "{deleted:?}");
    session.give_back().await.unwrap();
    tokio::time::sleep(LIST_LEASE).await;
    assert_eq!(queue.counts().await.unwrap().visible, 1);
}

#[tokio::test(start_paused = true)]
async fn receipt_from_before_a_suspend_deletes_nothing() {
    let sqs = Sqs::with_seed(1);
    let queue = queue(&sqs, "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LIST_LEASE).await.unwrap();
    let id = receive(&mut session).await.remove(0).id;
    redrive::internals::set_wall_clock_ahead(LIST_LEASE);
    let deleted = session.delete(&[id]).await;
    assert!(deleted[0].1.as_ref().unwrap_err().contains("no longer hidden"), "{deleted:?}");
    assert_eq!(queue.counts().await.unwrap().hidden, 1, "another consumer may have it");
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_extended_after_the_release() {
    let queue = queue(&Sqs::with_seed(1), "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LIST_LEASE).await.unwrap();
    assert_eq!(receive(&mut session).await.len(), 1);
    let leases = session.leases.clone();
    session.give_back().await.unwrap();
    // Another consumer has it now. A stale receipt would change that consumer's lease.
    let other = queue.sqs.client.receive_message().queue_url(&queue.url).visibility_timeout(60).send().await.unwrap();
    assert_eq!(other.messages().len(), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(queue.counts().await.unwrap().visible, 1);
    assert_eq!(Arc::strong_count(&leases), 1, "the task that extends leases has ended");
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_unanswered_receive_are_awaited() {
    let sqs = Sqs::with_seed(1);
    let queue = queue(&sqs, "dead").await;
    send(&queue).await;
    let mut session = BrowseSession::start(&queue, LEASE).await.unwrap();
    sqs.set_faults(redrive_local::Faults::none().lost_answers(1.0));
    let stop = Stop::told();
    let look = async { session.receive(10, &stop.1).await.map(|look| look.received) };
    let heal = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        sqs.set_faults(redrive_local::Faults::none());
    };
    let (look, ()) = tokio::join!(look, heal);
    assert_eq!(look.unwrap(), 0, "the lost attempt hides it");
    let until = session.lost_until().expect("the lost attempt may hide messages");
    tokio::time::sleep_until(until).await;
    assert_eq!(receive(&mut session).await.len(), 1);
    session.give_back().await.unwrap();
}
