//! Turns async functions into handlers, and handlers into consumers.

mod bulk;
mod consumer;
mod each;

use std::future::Future;

pub use self::bulk::{Bulk, BulkArgs, IntoOutcomes, batch};
pub use self::consumer::{Consumer, HandlerKind};
pub use self::each::{Each, handler};

/// An async function (or a closure that returns a future) with up to eight arguments, each a
/// [`FromRecord`](crate::FromRecord).
///
/// Every such function implements this trait; do not implement it by hand. The trait has no bounds on arguments, output
/// or future. [`run`](crate::run) and [`handler`] have these bounds, one for each kind of mistake. So the compiler can
/// name the argument, the return type or the value that is not `Send`. With the bounds here it could only say that the
/// function is not a `Handler`. `Args` is the tuple of argument types. A function implements `Fn` for one such tuple
/// only, so the compiler infers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a redrive handler",
    label = "not an async function of up to eight arguments",
    note = "a handler is an `async fn` (or a closure that returns a future), `Clone + Send + Sync + 'static`, \
            whose arguments are owned"
)]
pub trait Handler<Args>: Clone + Send + Sync + 'static {
    /// The return type of the function: an [`IntoOutcome`](crate::IntoOutcome).
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

            // The type parameters also name the values.
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
