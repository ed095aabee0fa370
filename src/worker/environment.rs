//! A worker as the process's environment has it.

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
use crate::error::{Error, Kind};
use crate::handler::{self, Consumer};
use crate::host_thread;
use crate::process_end::end_process;
use crate::subscriber;

const QUEUE_URL: &str = "REDRIVE_QUEUE_URL";
const HEALTH_PORT: &str = "REDRIVE_HEALTH_PORT";

/// The queue to poll, if this process is to be a worker.
pub(crate) fn queue_url() -> Result<Option<String>, Error> {
    let Some(value) = env::var_os(QUEUE_URL) else { return Ok(None) };
    match value.to_str() {
        Some(url) if url.contains("://") => Ok(Some(url.to_owned())),
        _ => {
            let problem = format!(
                "{QUEUE_URL} is {value:?}, which is no URL; one reads https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
            );
            Err(Kind::Environment(problem).into())
        }
    }
}

/// Polls until SIGTERM or SIGINT, and to the end of what has begun by then. The second of them ends the process.
///
/// Polls and heartbeats have a thread of their own, and handlers keep the caller's runtime. So a handler that blocks its thread
/// loses no message, though every thread of that runtime be blocked, and does not keep the process from ending.
pub(crate) async fn run<K: handler::Kind>(consumer: Consumer<K>, queue_url: String) -> Result<(), Error> {
    // Layers are made here, where what they spawn runs beside the handlers, and not on the host's thread.
    consumer.engine();
    let handlers = Handle::current();
    let result = host_thread::run("redrive-worker", move || poll(consumer, queue_url, handlers)).await;
    // The buffer of the log dies with the process. If the runtime ends, so does this wait.
    let _ = tokio::task::spawn_blocking(|| subscriber::finish(LOG_FLUSH_LIMIT)).await;
    result
}

/// How long the end of a worker waits for its log: standard output may be blocked for good.
const LOG_FLUSH_LIMIT: Duration = Duration::from_secs(1);

async fn poll<K: handler::Kind>(consumer: Consumer<K>, queue_url: String, handlers: Handle) -> Result<(), Error> {
    let health = health_listener().await?;
    let client = Client::new(&aws_config::load_from_env().await);
    let mut worker = consumer.worker(client, queue_url);
    worker.settings.health = health;
    run_until_asked(worker, handlers).await
}

async fn run_until_asked<K: handler::Kind>(mut worker: Worker<K>, handlers: Handle) -> Result<(), Error> {
    let mut signals = signals().map_err(|error| Kind::Host(error.into()))?;
    let mut first = signals.clone();
    let (held, rest) = mpsc::channel(1);
    worker.settings.handlers = Some(handlers);
    worker.settings.held = Some(held);
    tracing::info!(queue_url = worker.queue_url, "polling");
    let shutdown = async {
        let _ = first.wait_for(|count| *count > 0).await;
        tracing::info!("asked to end: the worker finishes what it has received; asked once more, it ends now");
    };
    tokio::select! {
        result = worker.run_until(shutdown) => result?,
        // To return is not to end: a runtime waits for each of its threads when it is dropped.
        _ = signals.wait_for(|count| *count > 1) => end_process(1, || {
            tracing::error!("asked to end once more; what it had comes back when its visibility timeout runs out");
        }),
    }
    end_if_blocked(rest).await;
    Ok(())
}

/// How long handlers have that were cancelled, until they are gone.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// Ends the process where handlers of a worker that has ended block their threads. They cannot be cancelled, their messages are given back,
/// and whoever waits for them, as a runtime does that is dropped, keeps the process until it is killed.
async fn end_if_blocked(mut rest: mpsc::Receiver<Infallible>) {
    if timeout(CANCELLED_WITHIN, rest.recv()).await.is_err() {
        end_process(0, || {
            tracing::warn!(
                "handlers still block their threads after the drain timeout: the process ends, and they with it; their messages are \
                 given back"
            );
        });
    }
}

/// Where an orchestrator's probes come, if there is a port for them. They come from another machine.
async fn health_listener() -> Result<Option<TcpListener>, Error> {
    let Some(value) = env::var_os(HEALTH_PORT) else { return Ok(None) };
    let Some(port) = value.to_str().and_then(|port| port.parse::<u16>().ok()) else {
        let problem = format!("{HEALTH_PORT} is {value:?}, which is no port; a port is a number up to 65535");
        return Err(Kind::Environment(problem).into());
    };
    // The first listens on IPv4 as well, where there is IPv6 at all.
    let addresses = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let listener = TcpListener::bind(&addresses[..]).await.map_err(|error| {
        Kind::Environment(format!("{HEALTH_PORT} is {port}, and nothing can listen there: {error}; take another port"))
    })?;
    match listener.local_addr() {
        Ok(address) => tracing::info!(%address, "answering probes of /livez and /readyz"),
        Err(error) => tracing::debug!(%error, "the health port has no address"),
    }
    Ok(Some(listener))
}

/// How often the process has been asked to end.
fn signals() -> std::io::Result<watch::Receiver<u32>> {
    let (count, counted) = watch::channel(0);
    let mut signal = Signal::listen()?;
    tokio::spawn(async move {
        while signal.next().await {
            count.send_modify(|count| *count += 1);
        }
        // Nobody can ask any more: whoever waits goes on waiting.
        std::future::pending::<()>().await;
    });
    Ok(counted)
}

/// SIGTERM, as orchestrators send it, and SIGINT, as a terminal does.
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

    /// What the tests run as a process of its own: a worker whose handler blocks its thread for good.
    #[test]
    #[ignore = "other tests run it"]
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

    /// What the tests run as a process of its own: a worker whose handler holds standard output for longer than a lease is.
    #[test]
    #[ignore = "other tests run it"]
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
    async fn a_handler_that_holds_standard_output_costs_no_lease() {
        let (sqs, url, mut program) = begin("program_that_holds_standard_output").await;
        until_it_says(&mut program, "it holds").await;
        // The worker has something to say: its polls fail for a while.
        sqs.set_faults(Faults::none().throttles(1.0));
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        sqs.set_faults(Faults::none());
        for _ in 0..60 {
            let received = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
            assert_eq!(received.messages(), [], "another consumer has the message that a handler still works on");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        asked(&program).await;
        let ended = timeout(Duration::from_secs(20), program.wait()).await.expect("it never ends");
        assert_eq!(ended.unwrap().code(), Some(0));
        let left = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
        assert_eq!(left.messages(), [], "it is deleted");
    }

    async fn asked(child: &Child) {
        let id = child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-15", &id]).status().await.unwrap().success());
    }

    async fn until_it_says(child: &mut Child, words: &str) {
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("it has not ended").contains(words) {}
    }

    /// Runs that test as a program, on a queue that has one message.
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

    /// Runs the program until its handler blocks, and asks it to end so often. Gives back with what it has ended, and whether the message
    /// is visible again.
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
        let code = timeout(Duration::from_secs(20), ended).await.expect("it never ends");
        let received = sqs.client().receive_message().queue_url(&url).send().await.unwrap();
        (code, received.messages.is_some_and(|messages| messages.len() == 1))
    }

    #[tokio::test]
    async fn a_handler_that_blocks_its_thread_does_not_keep_the_process_from_ending() {
        assert_eq!(ended_with(1).await, (Some(0), true));
    }

    #[tokio::test]
    async fn a_second_signal_ends_the_process_though_a_handler_blocks_its_thread() {
        assert_eq!(ended_with(2).await.0, Some(1));
    }
}
