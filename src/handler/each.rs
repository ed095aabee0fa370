//! Handlers that take one record for each call.

use std::marker::PhantomData;
use std::sync::Arc;

use tower::util::BoxCloneService;
use tower::{Layer, Service, service_fn};

use super::Handler;
use super::consumer::{Consumer, HandlerKind};
use crate::engine::{Classified, RecordService, ServiceTemplate, Work};
use crate::extract::{FromRecord, Rejection};
use crate::outcome::{BoxError, HandlerError, IntoOutcome, Outcome, rejected};
use crate::per_lane::PerLane;
use crate::record::Record;

/// The kind of a consumer whose handler takes one record for each call: see [`handler`].
pub struct Each<H, Args, S, E> {
    handler: H,
    state: S,
    classify: Option<Classify<E>>,
    layers: Vec<WrapService>,
    /// The argument types follow from the handler. No argument is stored.
    args: PhantomData<fn(Args)>,
}

pub(super) type Classify<E> = Arc<dyn Fn(&E) -> Outcome + Send + Sync>;
type WrapService = Arc<dyn Fn(RecordService) -> RecordService + Send + Sync>;

/// Creates a consumer from an async function that takes one record for each call.
///
/// ```no_run
/// use std::time::Duration;
/// use redrive::{Json, State};
///
/// # #[derive(serde::Deserialize)] struct Order {}
/// # #[derive(Clone)] struct Database;
/// async fn place(State(database): State<Database>, Json(order): Json<Order>) -> anyhow::Result<()> {
///     /* ... */
///     Ok(())
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), redrive::Error> {
///     redrive::handler(place)
///         .with_state(Database)
///         .concurrency(16)
///         .layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(5)))
///         .run()
///         .await
/// }
/// ```
pub fn handler<H, Args>(handler: H) -> Consumer<Each<H, Args, (), <H::Output as IntoOutcome>::Error>>
where
    H: Handler<Args>,
    H::Output: IntoOutcome,
    H::Future: Send,
{
    Consumer::new(Each { handler, state: (), classify: None, layers: Vec::new(), args: PhantomData })
}

impl<H, Args, S, E> Consumer<Each<H, Args, S, E>> {
    /// Sets the handler's state, which it takes as [`State`](crate::State). The default is `()`.
    pub fn with_state<T>(self, state: T) -> Consumer<Each<H, Args, T, E>>
    where
        Args: FromRecord<T>,
        T: Clone + Send + Sync + 'static,
    {
        self.map(|Each { handler, classify, layers, args, .. }| Each { handler, state, classify, layers, args })
    }

    /// Maps each error of the handler to an outcome. The default is [`Outcome::Retry`].
    ///
    /// ```
    /// use redrive::Outcome;
    ///
    /// # use std::fmt;
    /// #[derive(Debug)]
    /// enum OrderError { Invalid(&'static str), Database }
    /// # impl fmt::Display for OrderError {
    /// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("it failed") }
    /// # }
    /// # impl std::error::Error for OrderError {}
    ///
    /// async fn place() -> Result<(), OrderError> { Err(OrderError::Invalid("no items")) }
    ///
    /// let consumer = redrive::handler(place).classify(|error| match error {
    ///     OrderError::Invalid(why) => Outcome::DeadLetter((*why).into()),
    ///     OrderError::Database => Outcome::Retry,
    /// });
    /// ```
    ///
    /// The function gets the handler's own error, before it is boxed. An error type inside an `anyhow::Error` still
    /// downcasts. Rejections of extractors and errors of layers are not passed to it; they are retried. With the
    /// feature `sqs`, `Effects::dead_letter_malformed` sends messages that an extractor finds malformed to the
    /// dead-letter queue.
    pub fn classify(self, classify: impl Fn(&E) -> Outcome + Send + Sync + 'static) -> Self {
        self.map(|each| Each { classify: Some(Arc::new(classify)), ..each })
    }

    /// Wraps the processing of each record in a tower layer: its extractors and its handler, inside the concurrency
    /// limit. The last added layer is the outermost.
    ///
    /// An error of a layer fails its record, which is retried. State that the layer shares among the clones of its
    /// service (a limit, a breaker) is shared by all records of all batches.
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<RecordService> + Send + Sync + 'static,
        L::Service: Service<Record, Response = Outcome> + Clone + Send + 'static,
        <L::Service as Service<Record>>::Error: Into<BoxError>,
        <L::Service as Service<Record>>::Future: Send + 'static,
    {
        let wrap = move |service| {
            let layered = layer.layer(service);
            BoxCloneService::new(tower::util::MapErr::new(layered, Into::into))
        };
        self.map(|mut each| {
            each.layers.push(Arc::new(wrap));
            each
        })
    }
}

impl<H, Args, S, E> HandlerKind for Each<H, Args, S, E>
where
    H: Handler<Args>,
    H::Output: IntoOutcome<Error = E>,
    H::Future: Send,
    Args: FromRecord<S> + Send + 'static,
    S: Clone + Send + Sync + 'static,
    E: HandlerError,
{
    #[allow(private_interfaces)]
    fn work(&self) -> Work {
        let call = Call {
            handler: self.handler.clone(),
            state: self.state.clone(),
            classify: self.classify.clone(),
            args: PhantomData,
        };
        let call = Apart(PerLane::new(call));
        let innermost = service_fn(move |record| {
            let call = call.share();
            async move { call.with(record).await }
        });
        let service = self.layers.iter().fold(BoxCloneService::new(innermost), |service, wrap| wrap(service));
        Work::Each(ServiceTemplate::new(service))
    }
}

/// The parts of each call of the handler, shared by all calls.
struct Call<H, Args, S, E> {
    handler: H,
    state: S,
    classify: Option<Classify<E>>,
    args: PhantomData<fn(Args)>,
}

/// Gives each lane its own reference count when it clones the service.
struct Apart<T>(PerLane<T>);

impl<T> Apart<T> {
    /// Clones the value for one call. It is a method so that a closure captures the whole struct and not only its
    /// field, whose `clone` shares the reference count.
    fn share(&self) -> PerLane<T> {
        self.0.clone()
    }
}

impl<T> Clone for Apart<T> {
    fn clone(&self) -> Self {
        Self(self.0.apart())
    }
}

impl<H, Args, S, E> Call<H, Args, S, E>
where
    H: Handler<Args>,
    H::Output: IntoOutcome<Error = E>,
    Args: FromRecord<S>,
    E: HandlerError,
{
    async fn with(&self, record: Record) -> Result<Outcome, BoxError> {
        let args = match Args::from_record(&record, &self.state).await {
            Ok(args) => args,
            Err(rejection) => return rejected(rejection),
        };
        let output = self.handler.call(args).await;
        output.into_outcome().map_err(|error| classified(error, self.classify.as_ref()))
    }
}

/// Boxes an error with the outcome of the user's classification.
pub(super) fn classified<E: HandlerError>(error: E, classify: Option<&Classify<E>>) -> BoxError {
    let outcome = classify.map_or(Outcome::Retry, |classify| classify(&error));
    let error = error.into_box_error();
    // A handler that returns an extractor's rejection has decided about it. It must no longer count as the extractor's
    // own.
    match outcome {
        Outcome::Retry if !error.is::<Rejection>() => error,
        Outcome::Done | Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) | Outcome::Discard(_) => {
            Box::new(Classified { outcome, error })
        }
    }
}

impl<H: Clone, Args, S: Clone, E> Clone for Each<H, Args, S, E> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            state: self.state.clone(),
            classify: self.classify.clone(),
            layers: self.layers.clone(),
            args: PhantomData,
        }
    }
}
