//! Makes received messages without an invocation visible again at once.

use redrive::internals::visibility::VisibilityTimeout;

use crate::event::Record;

use super::EventSourceMapping;
use super::hide::Lease;

impl EventSourceMapping {
    /// Makes these messages visible for the next receive. After a failure their visibility timeout has to expire first.
    pub(super) async fn give_back(&self, records: &[Record], lease: &Lease) {
        if let Err(error) = self.change_visibility(records, VisibilityTimeout::ZERO, lease).await {
            tracing::debug!(error, "failed to release messages; their visibility timeout has to expire first");
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
    async fn messages_that_wait_for_their_batch_are_visible_at_once_after_the_shutdown() {
        let client = Sqs::with_seed(1).client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let never = |_| async { panic!("invoked although the window is open") as Result<String, BoxError> };
        let (size, window) = (BatchSize::new(10).unwrap(), Window::new(300).unwrap());
        let mapping = EventSourceMapping {
            client: client.clone(),
            queue_url: queue_url.clone(),
            source: Source::from_arn("arn:aws:sqs:us-east-1:000000000000:orders").unwrap(),
            batching: Batching::new(false, size, window).unwrap(),
            maximum_concurrency: None,
            filter: FilterCriteria::parse::<String>(&[]).unwrap(),
            reports_item_failures: true,
            function: Arc::new(InProcess::closure(never)),
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
