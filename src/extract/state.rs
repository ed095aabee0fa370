//! Extracts the state that all records share.

use std::convert::Infallible;

use super::FromRecord;
use crate::record::Record;

/// Extracts a clone of the state from [`Consumer::with_state`](crate::Consumer::with_state), or of a part of it.
///
/// ```
/// use std::sync::Arc;
/// use redrive::{Json, State};
///
/// struct Database { /* a pool */ }
/// # #[derive(serde::Deserialize)] struct Order {}
///
/// async fn place(State(database): State<Arc<Database>>, Json(order): Json<Order>) { /* ... */ }
///
/// let consumer = redrive::handler(place).with_state(Arc::new(Database {}));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

wraps!(State<T>);

/// A part of the state that can be cloned out of it.
///
/// ```
/// use redrive::{FromRef, State};
///
/// #[derive(Clone)]
/// struct App { table: String, dry_run: bool }
///
/// struct DryRun(bool);
///
/// impl FromRef<App> for DryRun {
///     fn from_ref(app: &App) -> Self {
///         Self(app.dry_run)
///     }
/// }
///
/// async fn place(State(DryRun(dry_run)): State<DryRun>) { /* ... */ }
///
/// let consumer = redrive::handler(place).with_state(App { table: "orders".into(), dry_run: true });
/// ```
#[diagnostic::on_unimplemented(
    message = "the handler takes `State<{Self}>`, but its state is `{S}`",
    label = "not a part of the state `{S}`",
    note = "give it with `redrive::handler(f).with_state(..)`, or implement `redrive::FromRef<{S}>` for `{Self}`"
)]
pub trait FromRef<S> {
    /// Clones the part out of the state.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> T {
        state.clone()
    }
}

impl<S: Sync, T: FromRef<S>> FromRecord<S> for State<T> {
    type Rejection = Infallible;

    async fn from_record(_: &Record, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}
