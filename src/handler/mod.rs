//! Async functions as handlers, and the builder that makes consumers of them.

mod bulk;
mod consumer;
mod each;

use std::future::Future;

pub use self::bulk::{Bulk, BulkArgs, IntoOutcomes, batch};
pub use self::consumer::{Consumer, Kind};
pub use self::each::{Each, handler};

/// An async function (or a closure that returns a future) of up to eight arguments, each a
/// [`FromRecord`](crate::FromRecord).
///
/// Nobody implements this by hand, and nothing of the arguments, the output or the future is asked here: that is asked
/// where a handler is given, by [`run`](crate::run) and [`handler`], one bound a mistake. Were it asked here, the
/// compiler could only say that the function is no `Handler`; so it names the argument, the return type, or what is not
/// `Send`. `Args` is the tuple of the arguments' types: a function implements `Fn` for one such tuple only, and from
/// it the compiler knows which.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a redrive handler",
    label = "not an async function of up to eight arguments",
    note = "a handler is an `async fn` (or a closure that returns a future), `Clone + Send + Sync + 'static`, \
            whose arguments are owned"
)]
pub trait Handler<Args>: Clone + Send + Sync + 'static {
    /// What the function returns: an [`IntoOutcome`](crate::IntoOutcome).
    type Output;
    /// The future of one call.
    type Future: Future<Output = Self::Output>;

    /// Calls the function.
    fn call(&self, args: Args) -> Self::Future;
}

macro_rules! impl_handler {
    ($($argument:ident),*) => {
        impl<F, Fut, $($argument),*> Handler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future,
        {
            type Output = Fut::Output;
            type Future = Fut;

            // The type parameters serve as names of the values, too.
            #[allow(non_snake_case)]
            fn call(&self, ($($argument,)*): ($($argument,)*)) -> Fut {
                self($($argument),*)
            }
        }
    };
}

impl_handler!();
impl_handler!(A);
impl_handler!(A, B);
impl_handler!(A, B, C);
impl_handler!(A, B, C, D);
impl_handler!(A, B, C, D, E);
impl_handler!(A, B, C, D, E, G);
impl_handler!(A, B, C, D, E, G, H);
impl_handler!(A, B, C, D, E, G, H, I);
