//! What was received and is not invoked goes back to the queue at once.

use redrive::internals::visibility::VisibilityTimeout;

use crate::event::Record;

use super::Mapping;
use super::hide::Lease;

impl Mapping {
    /// Makes these visible, for whoever polls next. Where that fails they come back by themselves, only later.
    pub(super) async fn give_back(&self, records: &[Record], lease: &Lease) {
        if let Err(error) = self.change_visibility(records, VisibilityTimeout::ZERO, lease).await {
            tracing::debug!(error, "messages are not given back; they wait for their visibility timeout");
        }
        self.settle(records.len());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use aws_sdk_sqs::types::MessageSystemAttributeName;
    use redrive::BoxError;
    use redrive::internals::source::Source;

    use super::*;
    use crate::Sqs;
    use crate::function::InProcess;
    use crate::mapping::config::{BatchSize, Batching, FunctionTimeout, Window};
    use crate::mapping::filter::FilterCriteria;

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_its_batch_at_the_end_is_visible_at_once() {
        let client = Sqs::with_seed(1).client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let never = |_| async { panic!("the window is still open") as Result<String, BoxError> };
        let (size, window) = (BatchSize::new(10).unwrap(), Window::new(300).unwrap());
        let mapping = Mapping {
            client: client.clone(),
            queue_url: queue_url.clone(),
            source: Source::from_arn("arn:aws:sqs:us-east-1:000000000000:orders").unwrap(),
            batching: Batching::new(false, size, window).unwrap(),
            maximum_concurrency: None,
            filter: FilterCriteria::parse::<String>(&[]).unwrap(),
            reports_item_failures: true,
            function: InProcess::closure(never).into(),
            function_arn: String::new(),
            timeout: FunctionTimeout::new(Duration::from_secs(3), Duration::from_secs(30)).unwrap(),
            visibility_timeout: Duration::from_secs(30),
            news: Arc::new(drop),
            settled: Arc::default(),
        };
        mapping.run(tokio::time::sleep(Duration::from_secs(1))).await;
        let receive = client.receive_message().queue_url(&queue_url);
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let received = receive.message_system_attribute_names(count.clone()).send().await.unwrap();
        assert_eq!(received.messages()[0].attributes().unwrap()[&count], "2");
    }
}
