//! An SQS whose answers come from a function of the test, for answers that the embedded queue does not give.

use std::fmt;
use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

/// Returns a client whose calls this function answers: by operation and request, with a status and JSON.
pub(crate) fn client<F, A>(answer: F) -> Client
where
    F: Fn(String, Value) -> A + Send + Sync + 'static,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url("http://sqs.localhost")
        .http_client(FakeSqs(Arc::new(answer)));
    Client::from_conf(config.build())
}

struct FakeSqs<F>(Arc<F>);

impl<F, A> HttpClient for FakeSqs<F>
where
    F: Fn(String, Value) -> A + Send + Sync + 'static,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self(self.0.clone()))
    }
}

impl<F, A> HttpConnector for FakeSqs<F>
where
    F: Fn(String, Value) -> A + Send + Sync + 'static,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("a call of SQS has a target");
        let operation = target.trim_start_matches("AmazonSQS.").to_owned();
        let request = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("JSON");
        let answer = (self.0)(operation, request);
        HttpConnectorFuture::new(async {
            let (status, answer) = answer.await;
            let status = StatusCode::try_from(status).expect("a status");
            let mut response = HttpResponse::new(status, SdkBody::from(answer.to_string()));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            Ok(response)
        })
    }
}

impl<F> fmt::Debug for FakeSqs<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeSqs")
    }
}
