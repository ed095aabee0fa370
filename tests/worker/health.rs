//! Tests the answers of a worker's health port. They use a socket, so they run on the real clock and never sleep.

use std::sync::Arc;
use std::time::Duration;

use redrive::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::kit::{Notes, Queue, Running};

async fn done() -> Outcome {
    Outcome::Done
}

/// The polls do not wait at the queue, because the clock is real.
async fn running(queue: &Queue, consumer: redrive::Consumer<impl redrive::HandlerKind>) -> (Running, Port) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::of(&listener);
    let worker = queue.worker(consumer).wait_time(Duration::ZERO).health(listener);
    (Running::begin(worker), port)
}

pub(crate) struct Port(u16);

impl Port {
    pub(crate) fn of(listener: &TcpListener) -> Self {
        Self(listener.local_addr().unwrap().port())
    }

    async fn ask(&self, request_line: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).await.unwrap();
        let request = format!("{request_line} HTTP/1.1\r\nHost: worker\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.trim_end().to_owned())
    }

    /// Asks until the answer is `is`.
    pub(crate) async fn until(&self, path: &str, is: (u16, &str)) {
        let asked = async {
            loop {
                let (status, body) = self.ask(&format!("GET {path}")).await;
                if status == is.0 && body.starts_with(is.1) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("{path} never is {is:?}"));
    }
}

#[tokio::test]
async fn readyz_is_200_after_the_first_answered_poll() {
    let queue = Queue::standard().await;
    let (worker, port) = running(&queue, redrive::handler(done)).await;
    port.until("/readyz", (200, "polling")).await;
    assert_eq!(port.ask("GET /livez").await, (200, "alive".to_owned()));
    assert_eq!(port.ask("HEAD /livez").await, (200, String::new()));
    assert_eq!(port.ask("POST /livez").await.0, 405);
    assert_eq!(port.ask("GET /").await, (404, "unknown path; ask for /livez or /readyz".to_owned()));
    worker.end().await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port.0)).await.is_err(), "the port is open after the worker has ended");
}

#[tokio::test]
async fn readyz_is_503_while_polls_fail() {
    let queue = Queue::standard().await;
    let (worker, port) = running(&queue, redrive::handler(done)).await;
    port.until("/readyz", (200, "polling")).await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    port.until("/readyz", (503, "failing: the last call to the queue failed")).await;
    assert_eq!(port.ask("GET /livez").await.0, 200, "a restart would not help");
    worker.end().await.unwrap();
}

#[tokio::test]
async fn readyz_is_503_and_livez_200_during_a_shutdown() {
    let queue = Queue::standard().await;
    let (notes, end) = (Notes::default(), Arc::new(Notify::new()));
    let waits = {
        let (notes, end) = (notes.clone(), end.clone());
        move || {
            let (notes, end) = (notes.clone(), end.clone());
            async move {
                notes.add("began");
                end.notified().await;
            }
        }
    };
    let (mut worker, port) = running(&queue, redrive::handler(waits)).await;
    queue.send("an order").await;
    notes.until(1).await;
    worker.ask();
    port.until("/readyz", (503, "closing")).await;
    assert_eq!(port.ask("GET /livez").await.0, 200);
    end.notify_one();
    worker.end().await.unwrap();
    assert_eq!(queue.counts().await, (0, 0));
}

#[tokio::test]
async fn readyz_is_200_while_the_worker_is_paused() {
    let queue = Queue::standard().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::of(&listener);
    let worker = queue.worker(redrive::handler(done)).wait_time(Duration::ZERO).health(listener);
    let handle = worker.handle();
    let worker = Running::begin(worker);
    port.until("/readyz", (200, "polling")).await;
    handle.pause();
    port.until("/readyz", (200, "paused")).await;
    worker.end().await.unwrap();
}

#[tokio::test]
async fn readyz_is_200_if_the_worker_is_paused_before_its_first_poll() {
    let queue = Queue::standard().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::of(&listener);
    let worker = queue.worker(redrive::handler(done)).health(listener);
    worker.handle().pause();
    let worker = Running::begin(worker);
    port.until("/readyz", (200, "paused")).await;
    worker.end().await.unwrap();
}
