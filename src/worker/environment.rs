//! Runs a worker that is configured by environment variables.

use std::convert::Infallible;
use std::env;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Worker;
use crate::error::{Error, ErrorKind};
use crate::handler::{self, Consumer};
use crate::host_thread;
use crate::process_end::end_process;
use crate::subscriber;

const QUEUE_URL: &str = "REDRIVE_QUEUE_URL";
const HEALTH_PORT: &str = "REDRIVE_HEALTH_PORT";

/// Returns the URL of the queue to poll, or `None` if `REDRIVE_QUEUE_URL` is not set.
pub(crate) fn queue_url() -> Result<Option<String>, Error> {
    let Some(value) = env::var_os(QUEUE_URL) else { return Ok(None) };
    match value.to_str() {
        Some(url) if url.contains("://") => Ok(Some(url.to_owned())),
        _ => {
            let problem = format!(
                "{QUEUE_URL} is {value:?}, which is not a URL; set it to https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
            );
            Err(ErrorKind::Environment(problem).into())
        }
    }
}

/// Runs the worker until SIGTERM or SIGINT, and then until the received messages are settled. A second signal ends the
/// process at once.
///
/// Polls and heartbeats run on a thread of their own. Handlers run on the caller's runtime. A handler that blocks its
/// thread therefore loses no lease and cannot keep the process from ending, even if every thread of that runtime is
/// blocked.
pub(crate) async fn run<K: handler::HandlerKind>(consumer: Consumer<K>, queue_url: String) -> Result<(), Error> {
    // The layers are built here so that the tasks they spawn run on the handlers' runtime and not on the host's thread.
    consumer.engine();
    let handlers = Handle::current();
    let result = host_thread::run("redrive-worker", move || poll(consumer, queue_url, handlers)).await;
    // The log's buffer is lost when the process ends. If the runtime shuts down first, it also ends this wait.
    let _ = tokio::task::spawn_blocking(|| subscriber::finish(LOG_FLUSH_LIMIT)).await;
    result
}

/// Limits how long a worker waits for its log at the end, because standard output may be blocked forever.
const LOG_FLUSH_LIMIT: Duration = Duration::from_secs(1);

async fn poll<K: handler::HandlerKind>(
    consumer: Consumer<K>,
    queue_url: String,
    handlers: Handle,
) -> Result<(), Error> {
    let health = health_listener().await?;
    let client = Client::new(&aws_config::load_from_env().await);
    let mut worker = consumer.worker(client, queue_url);
    worker.settings.health = health;
    run_until_asked(worker, handlers).await
}

async fn run_until_asked<K: handler::HandlerKind>(mut worker: Worker<K>, handlers: Handle) -> Result<(), Error> {
    let mut signals = signals().map_err(|error| ErrorKind::Host(error.into()))?;
    let mut first = signals.clone();
    let (held, rest) = mpsc::channel(1);
    worker.settings.handlers = Some(handlers);
    worker.settings.held = Some(held);
    tracing::info!(queue_url = worker.queue_url, "the worker starts polling");
    let shutdown = async {
        let _ = first.wait_for(|count| *count > 0).await;
        tracing::info!(
            "asked to end; the worker settles the messages it has received; a second signal ends it at once"
        );
    };
    tokio::select! {
        result = worker.run_until(shutdown) => result?,
        // Returning does not end the process: a runtime that is dropped waits for each of its threads.
        _ = signals.wait_for(|count| *count > 1) => end_process(1, || {
            tracing::error!(
                "asked to end twice; the process ends now, and its messages become visible when their visibility \
                 timeout ends"
            );
        }),
    }
    end_if_blocked(rest).await;
    Ok(())
}

/// Limits how long the worker waits for cancelled handlers to stop.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// Ends the process if handlers still block their threads after the worker has ended. Such handlers cannot be
/// cancelled, and their messages have been released. A runtime that is dropped waits for their threads until the
/// process is killed.
async fn end_if_blocked(mut rest: mpsc::Receiver<Infallible>) {
    if timeout(CANCELLED_WITHIN, rest.recv()).await.is_err() {
        end_process(0, || {
            tracing::warn!(
                "handlers still block their threads after the drain timeout; the process ends with them, and their \
                 messages are released"
            );
        });
    }
}

/// Binds the port for an orchestrator's probes, if one is set. It listens on all addresses, because probes come from
/// another machine.
async fn health_listener() -> Result<Option<TcpListener>, Error> {
    let Some(value) = env::var_os(HEALTH_PORT) else { return Ok(None) };
    let Some(port) = value.to_str().and_then(|port| port.parse::<u16>().ok()) else {
        let problem = format!("{HEALTH_PORT} is {value:?}, which is not a port; set it to a number from 0 to 65535");
        return Err(ErrorKind::Environment(problem).into());
    };
    // The IPv6 address accepts IPv4 connections too. The IPv4 address is for machines without IPv6.
    let addresses = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let listener = TcpListener::bind(&addresses[..]).await.map_err(|error| {
        ErrorKind::Environment(format!(
            "cannot listen on the port of {HEALTH_PORT}, {port}: {error}; take another port"
        ))
    })?;
    match listener.local_addr() {
        Ok(address) => tracing::info!(%address, "answering probes of /livez and /readyz"),
        Err(error) => tracing::debug!(%error, "failed to read the address of the health port"),
    }
    Ok(Some(listener))
}

/// Returns a counter of the signals that ask the process to end.
fn signals() -> std::io::Result<watch::Receiver<u32>> {
    let (count, counted) = watch::channel(0);
    let mut signal = Signal::listen()?;
    tokio::spawn(async move {
        while signal.next().await {
            count.send_modify(|count| *count += 1);
        }
        // No signal can arrive any more. The sender is kept so that waiting receivers keep waiting.
        std::future::pending::<()>().await;
    });
    Ok(counted)
}

/// Waits for SIGTERM, which orchestrators send, and for SIGINT, which a terminal sends.
#[cfg(unix)]
struct Signal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signal {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            signal = self.terminate.recv() => signal.is_some(),
            signal = self.interrupt.recv() => signal.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct Signal;

#[cfg(not(unix))]
impl Signal {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Stdio;
    use std::thread;

    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;
    use tokio::process::{Child, Command};

    use super::*;
    use redrive_local::{Faults, Sqs};

    const URL: &str = "REDRIVE_TEST_QUEUE_URL";

    /// Runs as a separate process: a worker whose handler blocks its thread forever.
    #[test]
    #[ignore = "other tests run it as a program"]
    fn program() {
        let Ok(queue_url) = env::var(URL) else { return };
        subscriber::install(subscriber::Lines::Buffered);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let client = Client::new(&aws_config::load_from_env().await);
            let block = || async {
                println!("it blocks");
                thread::sleep(Duration::from_secs(3_600));
            };
            let worker = crate::handler(block).concurrency(1).worker(client, queue_url).wait_time(Duration::ZERO);
            let worker = worker.drain_timeout(Duration::from_millis(300));
            let handlers = Handle::current();
            host_thread::run("redrive-worker", || run_until_asked(worker, handlers)).await
        });
        ended.unwrap();
    }

    /// Runs as a separate process: a worker whose handler locks standard output for longer than a lease.
    #[test]
    #[ignore = "other tests run it as a program"]
    fn program_that_holds_standard_output() {
        let Ok(queue_url) = env::var(URL) else { return };
        subscriber::install(subscriber::Lines::Buffered);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let client = Client::new(&aws_config::load_from_env().await);
            let hold = || async {
                println!("it holds");
                let _held = std::io::stdout().lock();
                thread::sleep(Duration::from_secs(9));
            };
            let worker = crate::handler(hold).worker(client, queue_url).wait_time(Duration::ZERO);
            let worker = worker.visibility_timeout(Duration::from_secs(5));
            let handlers = Handle::current();
            host_thread::run("redrive-worker", || run_until_asked(worker, handlers)).await
        });
        ended.unwrap();
    }

    #[tokio::test]
    async fn a_handler_that_locks_standard_output_loses_no_lease() {
        let (sqs, url, mut program) = begin("program_that_holds_standard_output").await;
        until_it_says(&mut program, "it holds").await;
        // Failed polls make the worker log while the handler holds the lock.
        sqs.set_faults(Faults::none().throttles(1.0));
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        sqs.set_faults(Faults::none());
        for _ in 0..60 {
            let received = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
            assert_eq!(received.messages(), [], "another consumer received a message whose handler still runs");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        asked(&program).await;
        let ended = timeout(Duration::from_secs(20), program.wait()).await.expect("the program does not end");
        assert_eq!(ended.unwrap().code(), Some(0));
        let left = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
        assert_eq!(left.messages(), [], "the message is not deleted");
    }

    async fn asked(child: &Child) {
        let id = child.id().expect("the program has ended").to_string();
        assert!(Command::new("kill").args(["-15", &id]).status().await.unwrap().success());
    }

    async fn until_it_says(child: &mut Child, words: &str) {
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("the program has ended").contains(words) {}
    }

    /// Starts that test as a program, with a queue that contains one message.
    async fn begin(test: &str) -> (Sqs, String, Child) {
        let sqs = Sqs::with_seed(1);
        sqs.client().create_queue().queue_name("orders").send().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(sqs.clone().serve(listener, std::future::pending()));
        let url = format!("{endpoint}/000000000000/orders");
        sqs.client().send_message().queue_url(&url).message_body("an order").send().await.unwrap();

        let mut program = Command::new(env::current_exe().unwrap());
        program.args(["--exact", &format!("worker::environment::tests::{test}"), "--ignored", "--nocapture"]);
        program.env_clear().env(URL, &url).env("AWS_ENDPOINT_URL_SQS", &endpoint).env("AWS_REGION", "us-east-1");
        program.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        let program = program.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        (sqs, url, program)
    }

    /// Runs the program until its handler blocks, and then sends it this many signals. Returns its exit code, and
    /// whether the message is visible again.
    async fn ended_with(signals: u32) -> (Option<i32>, bool) {
        let (sqs, url, mut program) = begin("program").await;
        let ended = async {
            until_it_says(&mut program, "it blocks").await;
            asked(&program).await;
            until_it_says(&mut program, "asked to end").await;
            for _ in 1..signals {
                asked(&program).await;
            }
            program.wait().await.unwrap().code()
        };
        let code = timeout(Duration::from_secs(20), ended).await.expect("the program does not end");
        let received = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
        (code, received.messages.is_some_and(|messages| messages.len() == 1))
    }

    #[tokio::test]
    async fn the_process_ends_after_one_signal_though_a_handler_blocks_its_thread() {
        assert_eq!(ended_with(1).await, (Some(0), true));
    }

    #[tokio::test]
    async fn the_process_ends_with_status_1_after_a_second_signal() {
        assert_eq!(ended_with(2).await.0, Some(1));
    }
}
