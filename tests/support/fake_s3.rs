//! Buckets in memory, behind a client of the AWS SDK. They can be silent, stalled or slow.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
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

use axum::body::{Bytes, HttpBody};
use http_body::Frame;
use tokio::time::{Sleep, sleep};

#[derive(Clone, Default)]
pub(crate) struct FakeS3(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Objects by `/bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
    /// Objects of this many `x`, which take no memory.
    long_objects: BTreeMap<String, usize>,
    delivery: Delivery,
    /// Whether calls stay unanswered.
    is_silent: bool,
    /// The error that answers every call.
    fault: Option<(u16, &'static str)>,
    under_way: usize,
    most_under_way: usize,
}

/// How the body of an object arrives.
#[derive(Clone, Copy, Default)]
pub(crate) enum Delivery {
    #[default]
    AtOnce,
    WithoutLength,
    /// The body stops after this many bytes, and the connection stays open.
    StallsAfter(usize),
    /// This many bytes arrive at a time, with a pause before each part.
    Slowly(usize, Duration),
}

/// The time of each call.
const LATENCY: Duration = Duration::from_millis(10);

impl FakeS3 {
    pub(crate) fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url("http://s3.localhost")
            .force_path_style(true)
            // A body is then sent unchanged.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::disabled())
            .http_client(self.clone());
        Client::from_conf(config.build())
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), body.into());
    }

    /// Adds an object of this many `x`.
    pub(crate) fn put_long(&self, path: &str, bytes: usize) {
        self.0.lock().unwrap().long_objects.insert(path.to_owned(), bytes);
    }

    pub(crate) fn deliver(&self, delivery: Delivery) {
        self.0.lock().unwrap().delivery = delivery;
    }

    /// Stops answering calls, without closing connections.
    pub(crate) fn be_silent(&self) {
        self.0.lock().unwrap().is_silent = true;
    }

    /// Returns all objects, by `/bucket/key`.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().objects.clone()
    }

    pub(crate) fn fail_with(&self, status: u16, code: &'static str) {
        self.0.lock().unwrap().fault = Some((status, code));
    }

    pub(crate) fn most_calls_at_a_time(&self) -> usize {
        self.0.lock().unwrap().most_under_way
    }

    /// Begins a call. Returns whether it stays unanswered.
    fn begin(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        state.is_silent
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let mut state = self.0.lock().unwrap();
        state.under_way -= 1;
        if let Some((status, code)) = state.fault {
            return response(status, SdkBody::from(error(code)));
        }
        let path = request.uri().trim_start_matches("http://s3.localhost");
        let path = path.split('?').next().unwrap().to_owned();
        match request.method() {
            "PUT" => {
                let body = request.body().bytes().expect("a body in memory");
                state.objects.insert(path, body.to_vec());
                response(200, SdkBody::empty())
            }
            "GET" => state.object(&path).unwrap_or_else(|| response(404, SdkBody::from(error("NoSuchKey")))),
            method => panic!("S3 is called with the unexpected method {method}"),
        }
    }
}

impl State {
    fn object(&self, path: &str) -> Option<HttpResponse> {
        let content = match (self.objects.get(path), self.long_objects.get(path)) {
            (Some(bytes), _) => Content::Bytes(Bytes::from(bytes.clone())),
            (None, Some(&bytes)) => Content::Repeated(bytes),
            (None, None) => return None,
        };
        let length = content.left();
        let body = Coming { content, delivery: self.delivery, sent: 0, pause: None };
        let mut response = response(200, SdkBody::from_body_1_x(body));
        if !matches!(self.delivery, Delivery::WithoutLength) {
            response.headers_mut().insert("content-length", length.to_string());
        }
        Some(response)
    }
}

fn response(status: u16, body: SdkBody) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).expect("a status"), body)
}

/// The rest of an object.
enum Content {
    Bytes(Bytes),
    Repeated(usize),
}

/// The size of a part, as from a socket.
const PIECE: usize = 65_536;

impl Content {
    fn left(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Repeated(bytes) => *bytes,
        }
    }

    fn take(&mut self, most: usize) -> Bytes {
        static PIECE_OF_X: [u8; PIECE] = [b'x'; PIECE];
        let bytes = most.min(self.left()).min(PIECE);
        match self {
            Self::Bytes(left) => left.split_to(bytes),
            Self::Repeated(left) => {
                *left -= bytes;
                Bytes::from_static(&PIECE_OF_X[..bytes])
            }
        }
    }
}

/// The body of an object while it is sent.
struct Coming {
    content: Content,
    delivery: Delivery,
    sent: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.content.left() == 0 {
            return Poll::Ready(None);
        }
        let most = match self.delivery {
            Delivery::AtOnce | Delivery::WithoutLength => PIECE,
            Delivery::StallsAfter(bytes) if self.sent >= bytes => return Poll::Pending,
            Delivery::StallsAfter(bytes) => bytes - self.sent,
            Delivery::Slowly(bytes, pause) => {
                let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(pause)));
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
                bytes
            }
        };
        let bytes = self.content.take(most);
        self.sent += bytes.len();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>the test asked for this</Message></Error>").into_bytes()
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
            let is_silent = fake.begin();
            if is_silent {
                pending::<()>().await;
            }
            sleep(LATENCY).await;
            Ok(fake.answer(&request))
        })
    }
}

impl fmt::Debug for FakeS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeS3")
    }
}
