//! Counts a client's calls to SQS.

#![allow(dead_code, reason = "each of the tests and the benchmark asks for a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use redrive_local::Sqs;

/// Counts the calls of a client, each attempt separately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<String, usize>>>);

impl Calls {
    /// Returns a client of that account whose calls are counted.
    pub(crate) fn client_of(&self, sqs: &Sqs) -> Client {
        Client::from_conf(sqs.client().config().to_builder().interceptor(self.clone()).build())
    }

    /// Returns how often each operation was called.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        self.counts().get(operation).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> usize {
        self.counts().values().sum()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").ok_or("a call of SQS has a target")?;
        let operation = target.trim_start_matches("AmazonSQS.").to_owned();
        *self.0.lock().unwrap().entry(operation).or_default() += 1;
        Ok(())
    }
}
