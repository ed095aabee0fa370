//! Handlers that take a chunk of records for each call.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;

use tower::service_fn;
use tower::util::BoxCloneService;

use super::Handler;
use super::consumer::{Consumer, HandlerKind};
use super::each::{Classify, classified};
use crate::engine::{Chunk, Classified, ServiceTemplate, Work, guard};
use crate::extract::{FromRecord, FromRef, State};
use crate::outcome::{BoxError, HandlerError, IntoOutcome, Outcome, rejected};

/// The kind of a consumer whose handler takes a chunk of records for each call: see [`batch`].
pub struct Bulk<H, Args, S, E> {
    handler: H,
    state: S,
    classify: Option<Classify<E>>,
    chunk_size: NonZeroUsize,
    args: PhantomData<fn(Args)>,
}

/// Creates a consumer from an async function that takes a chunk of records for each call, for a downstream that accepts
/// many at once.
///
/// The function takes a `Vec` of any extractor or of a tuple of extractors. A [`State`] may come before it. It answers
/// for each record by position; a record without an answer has failed. A record that an extractor rejects is not in the
/// `Vec`, and the others are not affected.
///
/// ```no_run
/// use redrive::{Json, MessageId, Outcome};
///
/// # #[derive(serde::Deserialize)] struct Order { id: u64 }
/// # async fn insert_all(orders: &[(MessageId, Json<Order>)]) -> anyhow::Result<Vec<bool>> { Ok(Vec::new()) }
/// async fn store(orders: Vec<(MessageId, Json<Order>)>) -> anyhow::Result<Vec<Outcome>> {
///     let inserted = insert_all(&orders).await?;
///     Ok(inserted.into_iter().map(|done| if done { Outcome::Done } else { Outcome::Retry }).collect())
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), redrive::Error> {
///     redrive::batch(store).chunk_size(25).run().await
/// }
/// ```
///
/// On a FIFO queue a chunk never contains two records of one group, so that a failure can stop its group. A panic of
/// the handler fails all records of its call.
pub fn batch<H, Args>(handler: H) -> Consumer<Bulk<H, Args, (), <H::Output as IntoOutcomes>::Error>>
where
    H: Handler<Args>,
    H::Output: IntoOutcomes,
    H::Future: Send,
{
    Consumer::new(Bulk { handler, state: (), classify: None, chunk_size: DEFAULT_CHUNK_SIZE, args: PhantomData })
}

/// The default batch size of an event source mapping.
const DEFAULT_CHUNK_SIZE: NonZeroUsize = NonZeroUsize::new(10).unwrap();

impl<H, Args, S, E> Consumer<Bulk<H, Args, S, E>> {
    /// Sets the maximum number of records in a call. The default is 10, and 0 counts as 1. A call takes fewer when
    /// their bodies come from S3 and memory cannot hold all of them at once.
    pub fn chunk_size(self, records: usize) -> Self {
        let chunk_size = NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN);
        self.map(|bulk| Bulk { chunk_size, ..bulk })
    }

    /// Sets the handler's state, which it takes as [`State`] before the records. The default is `()`.
    pub fn with_state<T>(self, state: T) -> Consumer<Bulk<H, Args, T, E>>
    where
        T: Clone + Send + Sync + 'static,
    {
        self.map(|Bulk { handler, classify, chunk_size, args, .. }| Bulk { handler, state, classify, chunk_size, args })
    }

    /// Maps each error of the handler, for a record or for the whole chunk, to an outcome. The default is
    /// [`Outcome::Retry`].
    pub fn classify(self, classify: impl Fn(&E) -> Outcome + Send + Sync + 'static) -> Self {
        self.map(|bulk| Bulk { classify: Some(Arc::new(classify)), ..bulk })
    }
}

/// The arguments of a batch handler: a `Vec` of extractors, or [`State`] and such a `Vec`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not the arguments of a redrive batch handler (with `{S}` as its state)",
    label = "not a `Vec` of extractors",
    note = "a batch handler is an `async fn(Vec<E>)` or an `async fn(State<T>, Vec<E>)`, where `E` is an extractor \
            (`Json<Order>`) or a tuple of extractors"
)]
pub trait BulkArgs<S>: Sized {
    /// The type that is extracted from each record.
    type Item;

    /// Builds the arguments of one call.
    fn new(state: &S, items: Vec<Self::Item>) -> Self;
}

impl<S, T> BulkArgs<S> for (Vec<T>,) {
    type Item = T;

    fn new(_: &S, items: Vec<T>) -> Self {
        (items,)
    }
}

impl<S, A: FromRef<S>, T> BulkArgs<S> for (State<A>, Vec<T>) {
    type Item = T;

    fn new(state: &S, items: Vec<T>) -> Self {
        (State(A::from_ref(state)), items)
    }
}

/// A return type of a batch handler. It is `Vec<O>` with an [`IntoOutcome`] for each record, by position;
/// `Result<Vec<Outcome>, E>`, whose error fails the whole chunk; or `Result<(), E>`, for all or nothing.
#[diagnostic::on_unimplemented(
    message = "a redrive batch handler cannot return `{Self}`",
    label = "this return type does not answer for each record",
    note = "return `Vec<O>` (where `O` is `()`, `redrive::Outcome`, `Result<(), E>` or `Result<redrive::Outcome, E>`), \
            `Result<Vec<redrive::Outcome>, E>`, or `Result<(), E>`"
)]
pub trait IntoOutcomes {
    /// The error that [`Consumer::classify`](crate::Consumer::classify) gets, for a record or for the chunk.
    type Error: HandlerError;

    /// Returns the outcomes of `records` records by position, or the error that fails all of them.
    fn into_outcomes(self, records: usize) -> Result<Vec<Result<Outcome, Self::Error>>, Self::Error>;
}

impl<O: IntoOutcome> IntoOutcomes for Vec<O> {
    type Error = O::Error;

    fn into_outcomes(self, _: usize) -> Result<Vec<Result<Outcome, O::Error>>, O::Error> {
        Ok(self.into_iter().map(IntoOutcome::into_outcome).collect())
    }
}

impl<E: HandlerError> IntoOutcomes for Result<Vec<Outcome>, E> {
    type Error = E;

    fn into_outcomes(self, _: usize) -> Result<Vec<Result<Outcome, E>>, E> {
        Ok(self?.into_iter().map(Ok).collect())
    }
}

impl<E: HandlerError> IntoOutcomes for Result<(), E> {
    type Error = E;

    fn into_outcomes(self, records: usize) -> Result<Vec<Result<Outcome, E>>, E> {
        self.map(|()| std::iter::repeat_with(|| Ok(Outcome::Done)).take(records).collect())
    }
}

impl<H, Args, S, E, T> HandlerKind for Bulk<H, Args, S, E>
where
    H: Handler<Args>,
    H::Output: IntoOutcomes<Error = E>,
    H::Future: Send,
    Args: BulkArgs<S, Item = T> + Send + 'static,
    T: FromRecord<S> + Send + 'static,
    S: Clone + Send + Sync + 'static,
    E: HandlerError,
{
    #[allow(private_interfaces)]
    fn work(&self) -> Work {
        let bulk = Arc::new(self.clone());
        let service = service_fn(move |chunk: Chunk| {
            let bulk = bulk.clone();
            async move {
                bulk.with(chunk).await;
                Ok(())
            }
        });
        Work::Chunks { size: self.chunk_size, service: ServiceTemplate::new(BoxCloneService::new(service)) }
    }
}

impl<H, Args, S, E, T> Bulk<H, Args, S, E>
where
    H: Handler<Args>,
    H::Output: IntoOutcomes<Error = E>,
    Args: BulkArgs<S, Item = T>,
    T: FromRecord<S> + Send,
    E: HandlerError,
{
    /// Extracts from each record, and calls the handler with the accepted items. Rejected records are settled at once.
    async fn with(&self, chunk: Chunk) {
        let (mut items, mut positions) = (Vec::new(), Vec::new());
        // The memory of a large body is reserved until its record is dropped. The handler holds the extracted body
        // until it ends, so the records are kept as long.
        let mut kept = Vec::new();
        for (position, record) in chunk.take_records().into_iter().enumerate() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    chunk.settle(position, || Err(error));
                    continue;
                }
            };
            let extracted = guard(pin!(Some(T::from_record(&record, &self.state)))).await;
            match extracted {
                Ok(Ok(item)) => {
                    items.push(item);
                    positions.push(position);
                    kept.push(record);
                }
                Ok(Err(rejection)) => chunk.settle(position, || rejected(rejection)),
                Err(panicked) => chunk.settle(position, || Err(panicked.into())),
            }
        }
        if !items.is_empty() {
            self.call(items, &positions, &chunk).await;
        }
    }

    /// Calls the handler and settles the records that it answered for. There may be fewer answers than items.
    async fn call(&self, items: Vec<T>, positions: &[usize], chunk: &Chunk) {
        let count = items.len();
        let classify = self.classify.as_ref();
        let output = self.handler.call(Args::new(&self.state, items)).await;
        match output.into_outcomes(count) {
            // With too many answers the positions are unreliable, so all records fail.
            Ok(answers) if answers.len() > count => {
                let error = TooManyAnswers { answers: answers.len(), records: count };
                fail_all(error.into(), positions, chunk);
            }
            Ok(answers) => {
                for (&position, answer) in positions.iter().zip(answers) {
                    chunk.settle(position, || answer.map_err(|error| classified(error, classify)));
                }
            }
            Err(error) => fail_all(classified(error, classify), positions, chunk),
        }
    }
}

/// Fails every record of a chunk with one error and its classified outcome.
fn fail_all(error: BoxError, positions: &[usize], chunk: &Chunk) {
    let (outcome, error) = match error.downcast::<Classified>() {
        Ok(classified) => (classified.outcome, classified.error),
        Err(error) => (Outcome::Retry, error),
    };
    let error = Arc::new(error);
    for &position in positions {
        let of_chunk = Classified { outcome: outcome.clone(), error: Box::new(ChunkFailed(error.clone())) };
        chunk.settle(position, || Err(of_chunk.into()));
    }
}

/// The error of a whole chunk, shared by its records.
#[derive(Debug)]
struct ChunkFailed(Arc<BoxError>);

impl fmt::Display for ChunkFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch handler failed the whole chunk of this record")
    }
}

impl std::error::Error for ChunkFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref().as_ref())
    }
}

#[derive(Debug)]
struct TooManyAnswers {
    answers: usize,
    records: usize,
}

impl fmt::Display for TooManyAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, records } = self;
        write!(
            f,
            "the batch handler returned {answers} answers for {records} records; return one for each, by position"
        )
    }
}

impl std::error::Error for TooManyAnswers {}

impl<H: Clone, Args, S: Clone, E> Clone for Bulk<H, Args, S, E> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            state: self.state.clone(),
            classify: self.classify.clone(),
            chunk_size: self.chunk_size,
            args: PhantomData,
        }
    }
}
