//! Where the queues are: in this process, or at another SQS.

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
        /// Until it is served.
        listener: Option<TcpListener>,
        /// To whom.
        callers: Callers,
    },
    Elsewhere(Elsewhere),
}

/// The SQS of this process believes every signature.
const KEY: &str = "local";

impl Site {
    pub(super) async fn here(port: u16, region: String, callers: Callers) -> Result<Self, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("cannot serve SQS at {address}: {error}; pass another --port, or --port 0 for any that is free")
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

    /// With these a function calls the same SQS.
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

    /// Serves at the socket, if there is something to serve.
    pub(super) fn serve(&mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        let Self::Here { sqs, listener, callers, .. } = self else { return None };
        let (sqs, callers, listener) = (sqs.clone(), callers.clone(), listener.take()?);
        Some(tokio::spawn(async move {
            if let Err(error) = sqs.serve_to(callers, listener, shutdown).await {
                tracing::error!(%error, "SQS is served no more");
            }
        }))
    }

    pub(super) fn show(&self, screen: &Screen, plan: &Plan) {
        let url = self.url();
        match self {
            Self::Here { .. } => {
                // Version 1 of the AWS CLI has endpoints of its own for SQS, and goes by no variable.
                screen.say(&format!(
                    "SQS at {url}; for SDKs: AWS_ENDPOINT_URL_SQS={url}; for the AWS CLI: --endpoint-url"
                ));
                plan.queues.iter().for_each(|queue| screen.say(&format!("queue {}", queue.url)));
            }
            Self::Elsewhere(there) if there.endpoint.is_loopback() => screen.say(&format!("polls SQS at {url}")),
            Self::Elsewhere(_) => screen.say(&format!(
                "polls SQS at {url}: what is done is deleted there, and every failure costs a message a receive"
            )),
        }
    }

    /// Has what no answer to a call tells shown. Another SQS tells nobody.
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

    /// Polls that wait end at once, where that is in our hands.
    pub(super) fn end_polls(&self) {
        if let Self::Here { sqs, .. } = self {
            sqs.end_polls();
        }
    }

    /// What there is to wait for at the end.
    pub(super) fn what_ends(&self) -> &'static str {
        match self {
            Self::Here { .. } => "what runs may come to its end",
            // A poll that is given up leaves behind, hidden, what SQS had given it already.
            Self::Elsewhere(_) => "what runs may come to its end, and polls, which take up to 20 s",
        }
    }
}
