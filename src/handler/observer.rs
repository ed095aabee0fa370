//! Who is told how each record ended, beside the log.

use std::fmt;
use std::sync::Arc;

use crate::record::Record;

/// The record, the outcome's name as the log has it, and the error or the reason, where there is one.
type Tell = dyn Fn(&Record, &'static str, Option<&str>) + Send + Sync;

/// Nobody, unless it is asked for.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Tell>>);

impl Observer {
    #[cfg(feature = "sqs")]
    pub(crate) fn new(tell: impl Fn(&Record, &'static str, Option<&str>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(crate) fn tell(&self, record: &Record, outcome: &'static str, why: Option<&str>) {
        if let Some(tell) = &self.0 {
            tell(record, outcome, why);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "somebody" } else { "nobody" })
    }
}
