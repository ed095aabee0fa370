//! The SQS of the queues: in this process, or elsewhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_sqs::Client;
use redrive_local::{Callers, Sqs};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::demo::Account;
use super::plan::Plan;
use super::screen::Screen;
use super::show::Show;
use crate::sqs::{Elsewhere, Endpoint, variable};

pub(super) enum Site {
    Here {
        sqs: Sqs,
        region: String,
        url: String,
        /// The socket until it is served.
        listener: Option<TcpListener>,
        /// The accepted callers.
        callers: Callers,
    },
    Elsewhere(Elsewhere),
}

/// The key for the SQS in this process, which accepts every signature.
const KEY: &str = "local";

impl Site {
    pub(super) async fn here(port: u16, region: String, callers: Callers) -> Result<Self, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("cannot serve SQS at {address}: {error}; pass another --port, or --port 0 for a free one")
        })?;
        let address = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?;
        let (sqs, url) = (Sqs::in_region(&region), format!("http://{address}"));
        Ok(Self::Here { sqs, region, url, listener: Some(listener), callers })
    }

    pub(super) async fn elsewhere(url: &str) -> Result<Self, String> {
        Ok(Self::Elsewhere(Elsewhere::at(Endpoint::parse(url)?, variable).await?))
    }

    pub(super) fn client(&self) -> Client {
        match self {
            Self::Here { sqs, .. } => sqs.client(),
            Self::Elsewhere(there) => there.client.clone(),
        }
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Here { url, .. } => url,
            Self::Elsewhere(there) => there.endpoint.url(),
        }
    }

    pub(super) fn region(&self) -> &str {
        match self {
            Self::Here { region, .. } => region,
            Self::Elsewhere(there) => &there.region,
        }
    }

    /// Returns the variables with which a function calls the same SQS.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let variables = match self {
            Self::Here { url, .. } => vec![
                ("AWS_ENDPOINT_URL_SQS", url.clone()),
                ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
            ],
            Self::Elsewhere(there) => there.variables(),
        };
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Serves SQS on the socket, if it is in this process.
    pub(super) fn serve(&mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        let Self::Here { sqs, listener, callers, .. } = self else { return None };
        let (sqs, callers, listener) = (sqs.clone(), callers.clone(), listener.take()?);
        Some(tokio::spawn(async move {
            if let Err(error) = sqs.serve_to(callers, listener, shutdown).await {
                tracing::error!(%error, "the SQS server stopped; clients can no longer reach the queues");
            }
        }))
    }

    pub(super) fn show(&self, screen: &Screen, plan: &Plan) {
        let url = self.url();
        match self {
            Self::Here { .. } => {
                // Version 1 of the AWS CLI has its own endpoints for SQS and ignores the variable.
                screen.say(&format!(
                    "SQS at {url}; for SDKs: AWS_ENDPOINT_URL_SQS={url}; for the AWS CLI: --endpoint-url"
                ));
                plan.queues.iter().for_each(|queue| screen.say(&format!("queue {}", queue.url)));
            }
            Self::Elsewhere(there) if there.endpoint.is_loopback() => screen.say(&format!("polls SQS at {url}")),
            Self::Elsewhere(_) => screen.say(&format!(
                "polls SQS at {url}: processed messages are deleted there, and every failure costs a message a receive"
            )),
        }
    }

    /// Shows events that answers to calls do not contain. Another SQS does not report them.
    pub(super) fn watch(&self, show: Show, account: std::sync::Arc<Account>) {
        let Self::Here { sqs, .. } = self else { return };
        sqs.watch(move |happening| {
            account.happened(&happening);
            show.happening(happening);
        });
    }

    pub(super) fn end_watch(&self) {
        if let Self::Here { sqs, .. } = self {
            sqs.watch(|_| {});
        }
    }

    /// Ends waiting polls at once, if SQS is in this process.
    pub(super) fn end_polls(&self) {
        if let Self::Here { sqs, .. } = self {
            sqs.end_polls();
        }
    }

    /// Returns what has to be awaited at the end.
    pub(super) fn what_ends(&self) -> &'static str {
        match self {
            Self::Here { .. } => "running work may finish",
            // A cancelled poll would leave messages hidden that SQS had already handed out.
            Self::Elsewhere(_) => "running work may finish, and polls, which take up to 20 s",
        }
    }
}
