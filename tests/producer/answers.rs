//! Answers that the local queue does not give.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use redrive::{Outgoing, Producer};
use serde_json::{Value, json};

/// Answers each call by its entries.
#[derive(Clone, Copy, Debug)]
struct Answering(fn(&[Value]) -> (u16, Value));

impl Answering {
    fn producer(self) -> Producer {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url("http://sqs.localhost")
            .http_client(self);
        Producer::new(Client::from_conf(config.build()), "http://sqs.localhost/000000000000/orders")
    }
}

impl HttpClient for Answering {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(*self)
    }
}

impl HttpConnector for Answering {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("JSON");
        let (status, answer) = (self.0)(request["Entries"].as_array().expect("entries"));
        let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(answer.to_string()));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn sent(entries: &[Value]) -> Value {
    let successful = entries
        .iter()
        .map(|entry| json!({ "Id": entry["Id"], "MessageId": entry["MessageBody"], "MD5OfMessageBody": "" }));
    json!({ "Successful": successful.collect::<Vec<_>>(), "Failed": [] })
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_neither_list_is_unknown() {
    let forgetful = Answering(|entries| {
        let named: Vec<_> = entries.iter().filter(|entry| entry["MessageBody"] != "forgotten").cloned().collect();
        (200, sent(&named))
    });
    let results = forgetful.producer().send_all(["a", "forgotten", "b"].map(Outgoing::text)).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(results[1].as_ref().unwrap_err().is_unknown());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_has_its_call_refused_costs_itself_only() {
    let strict = Answering(|entries| {
        if entries.iter().any(|entry| entry["MessageBody"] == "bad") {
            let message = "The request include parameter that is not valid for this queue type";
            return (400, json!({ "__type": "com.amazonaws.sqs#InvalidParameterValueException", "message": message }));
        }
        (200, sent(entries))
    });
    let results = strict.producer().send_all(["a", "bad", "b"].map(Outgoing::text)).await;
    assert_eq!(results[0].as_ref().unwrap().message_id, "a");
    assert_eq!(results[2].as_ref().unwrap().message_id, "b");
    let error = results[1].as_ref().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("InvalidParameterValue"), "{error}");
}
