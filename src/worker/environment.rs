//! A worker as the process's environment has it.

use std::env;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_sdk_sqs::Client;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::{Error, Kind};
use crate::handler::{self, Consumer};
use crate::host_thread;
use crate::outcome::BoxError;

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

/// Polls until SIGTERM or SIGINT, and to the end of what has begun by then; or until the second of them.
///
/// Polls and heartbeats have a thread of their own, and handlers keep the caller's runtime. So a handler that blocks its thread
/// loses no message, though every thread of that runtime be blocked.
pub(crate) async fn run<K: handler::Kind>(consumer: Consumer<K>, queue_url: String) -> Result<(), Error> {
    // Layers are made here, where what they spawn runs beside the handlers, and not on the host's thread.
    consumer.engine();
    let handlers = Handle::current();
    host_thread::run("redrive-worker", move || poll(consumer, queue_url, handlers)).await
}

async fn poll<K: handler::Kind>(consumer: Consumer<K>, queue_url: String, handlers: Handle) -> Result<(), Error> {
    let health = health_listener().await?;
    let mut signals = signals().map_err(|error| Kind::Host(error.into()))?;
    let mut first = signals.clone();
    let client = Client::new(&aws_config::load_from_env().await);
    let mut worker = consumer.worker(client, queue_url);
    worker.settings.handlers = Some(handlers);
    worker.settings.health = health;
    tracing::info!(queue_url = worker.queue_url, "polling");
    let shutdown = async {
        let _ = first.wait_for(|count| *count > 0).await;
        tracing::info!("asked to end: what has begun runs to its end; once more ends it now");
    };
    tokio::select! {
        result = worker.run_until(shutdown) => result,
        _ = signals.wait_for(|count| *count > 1) => {
            let stopped: BoxError =
                "asked to end once more; what it had comes back when its visibility timeout runs out".into();
            Err(Kind::Host(stopped).into())
        }
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
