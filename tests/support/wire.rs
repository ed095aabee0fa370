//! Intercepts the HTTP calls between a client and the embedded queue.

use std::fmt;
use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::RuntimeComponents;
use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};

/// The answer to a call.
pub(crate) type Answered = Result<HttpResponse, ConnectorError>;

/// A call before it is sent.
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) request: HttpRequest,
    connector: SharedHttpConnector,
}

impl Call {
    /// Forwards the call to the queue.
    pub(crate) async fn pass(self) -> Answered {
        self.connector.call(self.request).await
    }
}

/// Breaks the connection.
pub(crate) fn broken() -> Answered {
    Err(ConnectorError::io("the test broke the connection".into()))
}

/// Returns the client with all calls passing through this function.
pub(crate) fn through<F, A>(client: &Client, hook: F) -> Client
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answered> + Send + 'static,
{
    let inner = client.config().http_client().expect("a client of the embedded queue has one");
    Client::from_conf(client.config().to_builder().http_client(Wire { inner, hook: Arc::new(hook) }).build())
}

struct Wire<F> {
    inner: SharedHttpClient,
    hook: Arc<F>,
}

impl<F, A> HttpClient for Wire<F>
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answered> + Send + 'static,
{
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { connector, hook: self.hook.clone() })
    }
}

struct Connector<F> {
    connector: SharedHttpConnector,
    hook: Arc<F>,
}

impl<F, A> HttpConnector for Connector<F>
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answered> + Send + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("a call of SQS has a target");
        let operation = target.trim_start_matches("AmazonSQS.").to_owned();
        HttpConnectorFuture::new((self.hook)(Call { operation, request, connector: self.connector.clone() }))
    }
}

impl<F> fmt::Debug for Wire<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl<F> fmt::Debug for Connector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
