//! Collects the log events of a test's thread.

use std::fmt::Debug;
use std::fmt::Write;

use tracing::Metadata;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// A log event as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged {
    pub(crate) message: String,
    pub(crate) message_id: Option<String>,
    /// All fields of the event.
    pub(crate) text: String,
}

/// Passes this thread's events to that function until the guard is dropped.
pub(crate) fn to(hear: impl Fn(Logged) + Send + Sync + 'static) -> DefaultGuard {
    tracing::subscriber::set_default(Registry::default().with(To(hear)))
}

struct To<F>(F);

impl<S: tracing::Subscriber, F: Fn(Logged) + Send + Sync + 'static> Layer<S> for To<F> {
    /// Ignores spans, which would take most of a simulation's time.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event()
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        // Events of the SDK and other libraries are ignored.
        if event.metadata().target().starts_with("redrive") {
            let mut logged = Logged { text: event.metadata().level().to_string(), ..Logged::default() };
            event.record(&mut logged);
            (self.0)(logged);
        }
    }
}

impl Visit for Logged {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message_id" {
            self.message_id = Some(value.to_owned());
        }
        let _ = write!(self.text, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "message_id" => self.message_id = Some(format!("{value:?}").trim_matches('"').to_owned()),
            _ => {}
        }
        let _ = write!(self.text, " {}={value:?}", field.name());
    }
}
