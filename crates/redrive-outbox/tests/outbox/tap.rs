//! A wrapper of an SQS client that reports each call before it leaves and when its answer arrives.

use std::fmt::Debug;
use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{RuntimeComponents, SharedHttpClient};
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Handle;

/// Receives reports of calls. A call waits for the returned future, which is dropped if the caller gives up.
pub(crate) trait Listener: Debug + Send + Sync + 'static {
    /// These bodies are about to be sent.
    fn leaves<'a>(&'a self, _bodies: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// An answer arrived, and these bodies were accepted. It is `None` if the connection broke.
    fn answered<'a>(&'a self, _bodies: &'a [String], _taken: Option<&'a [String]>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Returns the runtime in which calls outlive their caller, and a token that is held until a call is over.
    fn network(&self) -> Option<(Handle, Arc<()>)> {
        None
    }
}

/// Returns a client of that account that reports its calls.
pub(crate) fn tapped(client: &Client, listener: Arc<impl Listener>) -> Client {
    let inner = client.config().http_client().unwrap();
    Client::from_conf(client.config().to_builder().http_client(Tap { inner, listener }).build())
}

#[derive(Clone, Debug)]
struct Tap {
    inner: SharedHttpClient,
    listener: Arc<dyn Listener>,
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    listener: Arc<dyn Listener>,
}

impl HttpClient for Tap {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, listener: self.listener.clone() })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, listener) = (self.inner.clone(), self.listener.clone());
        HttpConnectorFuture::new(async move {
            let entries = entries(request.body().bytes());
            let bodies: Vec<String> = entries.iter().map(|(_, body)| body.clone()).collect();
            listener.leaves(&bodies).await;
            let call = inner.call(request);
            let answer = match listener.network() {
                None => call.await,
                Some((network, is_under_way)) => {
                    let call = async move {
                        let answer = call.await;
                        drop(is_under_way);
                        answer
                    };
                    network.spawn(call).await.map_err(|error| ConnectorError::other(error.into(), None))?
                }
            };
            let taken = answer.as_ref().ok().map(|answer| taken(&entries, answer));
            listener.answered(&bodies, taken.as_deref()).await;
            answer
        })
    }
}

/// Returns the ids and bodies of a `SendMessageBatch`.
fn entries(request: Option<&[u8]>) -> Vec<(String, String)> {
    let request: Value = serde_json::from_slice(request.unwrap_or_default()).unwrap_or_default();
    let entries = request["Entries"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (text(&entry["Id"]), text(&entry["MessageBody"]))).collect()
}

fn taken(entries: &[(String, String)], answer: &HttpResponse) -> Vec<String> {
    let answer: Value = serde_json::from_slice(answer.body().bytes().unwrap_or_default()).unwrap_or_default();
    let successful = answer["Successful"].as_array().cloned().unwrap_or_default();
    let is_taken = |id: &str| successful.iter().any(|entry| entry["Id"] == id);
    entries.iter().filter(|(id, _)| is_taken(id)).map(|(_, body)| body.clone()).collect()
}
