//! Connects an `aws_sdk_sqs::Client` with the queue, in place of an HTTP client.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, RuntimeComponents, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use super::sqs::{Call, REGION, Sqs};
use super::wire::{Answer, CONTENT_TYPE, QUERY_ERROR, TARGET, TRACE_ID};

/// The beginning of queue URLs without a socket.
pub(super) const BASE_URL: &str = "http://sqs.localhost";

impl Sqs {
    /// Returns a client of the AWS SDK whose calls are answered in this process.
    ///
    /// Everything except the socket is real: the client serializes, signs and retries requests. Its settings can be
    /// changed: `Client::from_conf(sqs.client().config().to_builder()...build())`.
    pub fn client(&self) -> Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(Credentials::new("local", "local", None, None, "redrive"))
            .endpoint_url(BASE_URL)
            // The protection uses the system's clock, and no stream can stall here.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(InProcessClient(self.clone()));
        Client::from_conf(config.build())
    }
}

/// Answers requests of the SDK in this process.
#[derive(Clone, Debug)]
struct InProcessClient(Sqs);

impl HttpClient for InProcessClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcessClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sqs = self.0.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get(TARGET).unwrap_or_default();
            let body = request.body().bytes().unwrap_or_default();
            let trace_id = request.headers().get(TRACE_ID);
            let answer = sqs.call(Call { target, body, base_url: BASE_URL, trace_id }).await;
            let lost = || ConnectorError::io("the connection broke: an injected fault".into());
            response(answer.ok_or_else(lost)?, sqs.date())
        })
    }
}

fn response(answer: Answer, date: String) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(answer.status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    response.headers_mut().insert("content-type", CONTENT_TYPE);
    response.headers_mut().insert("date", date);
    if let Some(error) = answer.query_error {
        response.headers_mut().insert(QUERY_ERROR, error);
    }
    Ok(response)
}
