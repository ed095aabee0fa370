//! Items for the other crates of this repository. They are not part of the public API, and any release may change them.

pub use crate::engine::guard;
pub use crate::json::to_body;
#[cfg(feature = "lambda")]
pub use crate::lambda::AnswerFuture;
#[cfg(feature = "test-util")]
pub use crate::moment::set_wall_clock_ahead;
pub use crate::moment::{Deadline, Moment};
#[cfg(feature = "producer")]
pub use crate::producer::{Stored, TraceSource};
pub use crate::record::{Incomplete, ReceivedMessage};
pub use crate::sqs::{
    call_error, client, coalesce, delete, entries, hex, limits, note, region, safe_text, size_limit, source, visibility,
};

/// Returns a random id that is unique across processes.
#[cfg(feature = "producer")]
pub fn random_id() -> String {
    crate::producer::Id::random().to_string()
}

/// Makes a producer fail at once instead of waiting for an unreachable SQS, as a command needs.
#[cfg(feature = "producer")]
pub fn fail_fast(producer: crate::ProducerBuilder) -> crate::ProducerBuilder {
    producer.fail_fast()
}

/// The cause of a failed send, for a command that suggests a remedy.
#[cfg(feature = "producer")]
pub struct SendCause<'a> {
    pub text: &'a str,
    /// The reason for a failure of the whole call.
    pub trouble: Option<call_error::Trouble>,
    /// Set if the message was never sent because an earlier message of its group failed.
    pub is_behind: bool,
}

#[cfg(feature = "producer")]
impl<'a> From<&'a crate::SendError> for SendCause<'a> {
    fn from(error: &'a crate::SendError) -> Self {
        Self { text: error.cause(), trouble: error.trouble(), is_behind: error.is_behind() }
    }
}

/// Results of sends, for tests.
#[cfg(all(feature = "producer", feature = "test-util"))]
pub mod send_results {
    use crate::{SendError, Sent};

    pub fn sent() -> Sent {
        Sent::new("m", None)
    }

    pub fn denied() -> SendError {
        SendError::denied("no such queue".to_owned())
    }

    pub fn failed() -> SendError {
        SendError::failed("throttled".to_owned())
    }

    pub fn invalid() -> SendError {
        SendError::invalid("its body is empty".to_owned())
    }
}

#[cfg(feature = "lambda")]
use crate::handler::{Consumer, HandlerKind};

/// Returns a function that runs a consumer on an event's JSON, a context and the remaining time of the invocation.
#[cfg(feature = "lambda")]
pub fn function<K: HandlerKind>(
    consumer: &Consumer<K>,
) -> impl Fn(Vec<u8>, crate::Context, std::time::Duration) -> AnswerFuture + Send + Sync + use<K> {
    let engine = consumer.engine();
    move |event, context, remaining| {
        let handlers = tokio::runtime::Handle::current();
        let origin = std::sync::Arc::new(context);
        let invocation = crate::engine::Invocation::of_a_whole_batch(Some(remaining), origin, handlers);
        Box::pin(crate::lambda::answer(engine.clone(), crate::Event::of(event), invocation))
    }
}
