//! What a worker's health port answers. It is on a socket, so no test here is on the paused clock, and none waits.

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

/// A worker's polls do not wait, as the clock does not jump.
async fn running(queue: &Queue, consumer: redrive::Consumer<impl redrive::Kind>) -> (Running, Port) {
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

    /// Asks until it is so.
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
async fn it_is_ready_once_the_queue_has_answered() {
    let queue = Queue::standard().await;
    let (worker, port) = running(&queue, redrive::handler(done)).await;
    port.until("/readyz", (200, "polling")).await;
    assert_eq!(port.ask("GET /livez").await, (200, "alive".to_owned()));
    assert_eq!(port.ask("HEAD /livez").await, (200, String::new()));
    assert_eq!(port.ask("POST /livez").await.0, 405);
    assert_eq!(port.ask("GET /").await, (404, "unknown path; ask for /livez or /readyz".to_owned()));
    worker.end().await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port.0)).await.is_err(), "it ends with the worker");
}

#[tokio::test]
async fn it_is_not_ready_while_the_queue_cannot_be_polled() {
    let queue = Queue::standard().await;
    let (worker, port) = running(&queue, redrive::handler(done)).await;
    port.until("/readyz", (200, "polling")).await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    port.until("/readyz", (503, "the queue cannot be polled")).await;
    assert_eq!(port.ask("GET /livez").await.0, 200, "a restart would not help");
    worker.end().await.unwrap();
}

#[tokio::test]
async fn it_is_not_ready_but_alive_while_it_closes() {
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
async fn who_pauses_it_means_to() {
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
async fn who_pauses_it_before_its_first_poll_means_to() {
    let queue = Queue::standard().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::of(&listener);
    let worker = queue.worker(redrive::handler(done)).health(listener);
    worker.handle().pause();
    let worker = Running::begin(worker);
    port.until("/readyz", (200, "paused")).await;
    worker.end().await.unwrap();
}
