//! Implements the pure core of the event source mapping: Lambda's work between a queue and a function, without I/O.
//!
//! ```text
//! messages -> event (a record each) -> filter -> gather (batches) -> [the function] -> answer (records to retry)
//! ```
//!
//! Time and bytes come in as arguments. The caller polls, invokes and deletes.

pub mod answer;
pub mod config;
pub mod filter;
pub mod gather;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redrive::internals::source::Source;

    use crate::event::{Record, event};
    use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};

    use super::answer::judge;
    use super::config::{BatchSize, Batching, Window};
    use super::filter::FilterCriteria;
    use super::gather::{Gatherer, Permits};

    fn received(source: &Source, id: usize, receive_count: usize) -> Record {
        let message = Message::builder()
            .message_id(id.to_string())
            .receipt_handle(format!("{id}-{receive_count}"))
            .body(format!(r#"{{"order":{id}}}"#))
            .attributes(System::ApproximateReceiveCount, receive_count.to_string())
            .attributes(System::MessageGroupId, "g");
        Record::new(message.build(), source).unwrap()
    }

    /// Recorded on AWS: a batch 1, 2, 3, 4 of one group that reports 2, 3, 4 is followed by a batch 2, 3, 4.
    #[test]
    fn group_that_fails_at_its_second_message_is_retried_from_there() {
        let source = Source::from_arn("arn:aws:sqs:eu-central-1:123456789012:orders.fifo").unwrap();
        let criteria = FilterCriteria::parse(&[r#"{"body":{"order":[{"numeric":["<",5]}]}}"#]).unwrap();
        let batching = Batching::new(source.is_fifo(), BatchSize::default(), Window::default()).unwrap();
        let mut gatherer = Gatherer::new(batching, Permits::new(None));
        let now = Duration::ZERO;

        let messages = (1..=5).map(|id| received(&source, id, 1)).filter(|record| criteria.lets_through(record));
        gatherer.add(now, messages);
        let batch = gatherer.next_batch(now).unwrap();
        assert_eq!(event(batch.records()).matches("messageId").count(), 4, "5 is filtered out");
        let reported = [2, 3, 4].map(|id| format!(r#"{{"itemIdentifier":"{id}"}}"#)).join(",");
        let answer = format!(r#"{{"batchItemFailures":[{reported}]}}"#);
        let verdict = judge(batch.records(), true, Ok(answer.as_bytes()));
        assert_eq!((&verdict.deleted[..], &verdict.come_back[..]), (&[0][..], &[1, 2, 3][..]));
        assert!(verdict.problems.is_empty());
        assert!(gatherer.finish(batch, &verdict.come_back).is_empty());

        gatherer.add(now, (2..=4).map(|id| received(&source, id, 2)));
        let batch = gatherer.next_batch(now).unwrap();
        let handles: Vec<_> = batch.records().iter().map(Record::receipt_handle).collect();
        assert_eq!(handles, ["2-2", "3-2", "4-2"]);
    }
}
