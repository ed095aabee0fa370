//! The handler with its layers, as the engine calls it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tower::util::BoxCloneService;
use tower::{Service, ServiceExt};

use crate::outcome::{BoxError, Outcome};
use crate::record::Record;

/// The service that [layers](crate::Consumer::layer) wrap: it runs extractors and handler on one record.
pub type RecordService = BoxCloneService<Record, Outcome, BoxError>;

/// The result of one record: an outcome, or an error that means a retry.
pub(crate) type RecordResult = Result<Outcome, BoxError>;

/// A handler's error with an outcome other than a plain retry. It passes through the layers with its outcome attached.
/// The outcome counts only if the same error leaves the last layer. A layer that retries, or that returns its own
/// error, discards it.
pub(crate) struct Classified {
    pub(crate) outcome: Outcome,
    pub(crate) error: BoxError,
}

impl fmt::Debug for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Classified {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.error.as_ref())
    }
}

/// A service that is only cloned. Each lane clones it under the guard, because a layer's `clone` is user code.
pub(crate) struct ServiceTemplate<S>(Arc<Mutex<S>>);

impl<S: Clone> ServiceTemplate<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }

    pub(super) fn copy(&self) -> S {
        // A `clone` that panicked has changed nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Clone for ServiceTemplate<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A lane's own clone of the record service. It serves one record after another, and is replaced after a panic.
pub(super) struct LaneService {
    template: ServiceTemplate<RecordService>,
    used: Option<RecordService>,
}

impl LaneService {
    pub(super) fn new(template: ServiceTemplate<RecordService>) -> Self {
        Self { template, used: None }
    }

    pub(super) async fn call(&mut self, record: Record) -> RecordResult {
        let mut service = self.used.take().unwrap_or_else(|| self.template.copy());
        let result = service.ready().await?.call(record).await;
        self.used = Some(service);
        result
    }
}
