//! Deletes messages, in one attempt. `coalesce` repeats the entries that fail.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry as Entry;

use super::call_error::CallError;
use super::coalesce::BatchCall;
use super::entries::{EntryError, by_position, or_may_pass};
use super::split::{Once, split};

/// `DeleteMessageBatch` on one queue, by receipt handles.
pub struct DeleteMessages {
    pub client: Client,
    pub queue_url: String,
}

impl BatchCall for DeleteMessages {
    type Entry = String;

    async fn call(&self, receipt_handles: &[String]) -> Vec<Result<(), EntryError>> {
        let results = split(self, receipt_handles).await.into_iter();
        results.map(|result| result.map_err(|error| error.hiding(receipt_handles.iter().map(String::as_str)))).collect()
    }
}

impl Once<String> for DeleteMessages {
    const ACTION: &'static str = "sqs:DeleteMessage";

    async fn once(&self, receipt_handles: &[String]) -> Result<Vec<Result<(), EntryError>>, CallError> {
        let entries = receipt_handles.iter().enumerate().filter_map(|(position, receipt_handle)| {
            Entry::builder().id(position.to_string()).receipt_handle(receipt_handle).build().ok()
        });
        let call = self.client.delete_message_batch().queue_url(&self.queue_url);
        let answer = call.set_entries(Some(entries.collect())).send().await?;
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        Ok(or_may_pass(by_position(receipt_handles.len(), successful, answer.failed())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redrive_local::Sqs;

    /// If message ids were the entries' ids, a message that was received twice would fail the call.
    #[tokio::test(start_paused = true)]
    async fn same_message_may_be_in_a_call_twice() {
        let client = Sqs::with_seed(1).client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let mut received = client.receive_message().queue_url(&queue_url).send().await.unwrap();
        let receipt_handle = received.messages.take().unwrap()[0].receipt_handle.take().unwrap();
        let deletes = DeleteMessages { client, queue_url };
        let results = deletes.call(&[receipt_handle.clone(), "none".to_owned(), receipt_handle]).await;
        assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
        assert!(matches!(&results[1], Err(EntryError::SenderFault(why)) if why.contains("ReceiptHandleIsInvalid")));
    }
}
