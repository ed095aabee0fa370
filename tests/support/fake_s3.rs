//! Buckets in memory, behind a client of the AWS SDK.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

#[derive(Clone, Default)]
pub(crate) struct FakeS3(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By `/bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
    /// What every call is answered with, in place of what was asked for.
    fault: Option<(u16, &'static str)>,
    under_way: usize,
    most_under_way: usize,
}

/// Each call takes so long.
const LATENCY: Duration = Duration::from_millis(10);

impl FakeS3 {
    pub(crate) fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url("http://s3.localhost")
            .force_path_style(true)
            // A body is then sent as it is.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::disabled())
            .http_client(self.clone());
        Client::from_conf(config.build())
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), body.into());
    }

    /// All that is there, by `/bucket/key`.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().objects.clone()
    }

    pub(crate) fn fail_with(&self, status: u16, code: &'static str) {
        self.0.lock().unwrap().fault = Some((status, code));
    }

    pub(crate) fn most_calls_at_a_time(&self) -> usize {
        self.0.lock().unwrap().most_under_way
    }

    fn begin(&self) {
        let mut state = self.0.lock().unwrap();
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
    }

    fn answer(&self, request: &HttpRequest) -> (u16, Vec<u8>) {
        let mut state = self.0.lock().unwrap();
        state.under_way -= 1;
        if let Some((status, code)) = state.fault {
            return (status, error(code));
        }
        let path = request.uri().trim_start_matches("http://s3.localhost");
        let path = path.split('?').next().unwrap().to_owned();
        match request.method() {
            "PUT" => {
                let body = request.body().bytes().expect("a body in memory");
                state.objects.insert(path, body.to_vec());
                (200, Vec::new())
            }
            "GET" => state.objects.get(&path).map_or((404, error("NoSuchKey")), |body| (200, body.clone())),
            method => panic!("{method} is none of what is asked of S3"),
        }
    }
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>").into_bytes()
}

impl HttpClient for FakeS3 {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for FakeS3 {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fake = self.clone();
        HttpConnectorFuture::new(async move {
            fake.begin();
            tokio::time::sleep(LATENCY).await;
            let (status, body) = fake.answer(&request);
            let status = StatusCode::try_from(status).expect("a status");
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl fmt::Debug for FakeS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeS3")
    }
}
