//! Confines a panic to its record.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::Poll;

/// A caught panic.
#[derive(Debug)]
pub struct Panicked {
    message: String,
    /// File, line and column, if [`note_places`] was called before.
    place: Option<String>,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "panicked at {place}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

impl std::error::Error for Panicked {}

/// Runs a future and returns a panic in it, or in its drop, as an error. Leaves `None` in its place.
///
/// The future is borrowed because an `async fn` that takes a future by value stores it twice: as argument and as pinned
/// local.
///
/// Two kinds of panic end the process: a panic during unwinding, and any panic under `panic = "abort"`.
pub async fn guard<F: Future>(mut future: Pin<&mut Option<F>>) -> Result<F::Output, Panicked> {
    let end = poll_fn(|context| {
        let poll = || match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        };
        match catch(poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    })
    .await;
    // The future is dropped here and not by the caller, where a panic in a destructor would fail more than this record.
    let dropped = catch(|| future.set(None));
    let output = end?;
    dropped.map(|()| output)
}

/// Calls a function and returns a panic in it as an error.
pub(super) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    // A panic that user code caught itself has left its place behind.
    PLACE.set(None);
    // Unwind safety: the caller only drops the future after a panic, so nobody sees a broken invariant.
    catch_unwind(AssertUnwindSafe(call)).map_err(Panicked::new)
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let place = PLACE.take();
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(message), _) => (*message).to_owned(),
            (None, Some(message)) => message.clone(),
            (None, None) => "the payload is not a string".to_owned(),
        };
        // A payload of any type may panic in its drop, with a payload that panics again.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        Self { message, place }
    }
}

thread_local! {
    /// The place of this thread's last panic. The hook runs on the thread that panics, and so does the catch.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Installs a panic hook that records the place of each panic and then calls the previous hook.
pub(crate) fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(ToString::to_string));
            previous(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
        guard(pin!(Some(future))).await
    }

    thread_local! {
        static HOOKED: Cell<bool> = const { Cell::new(false) };
    }

    /// The hook is installed once in a process. The first test to run installs it for all of them.
    fn note_places_after_a_hook() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                HOOKED.set(true);
                previous(info);
            }));
            note_places();
        });
    }

    struct PanicsInDrop(&'static str);

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("{}", self.0);
        }
    }

    async fn message<T>(future: impl Future<Output = T>) -> String {
        guarded(future).await.err().expect("a panic").message
    }

    #[tokio::test]
    async fn panic_becomes_an_error_with_its_message() {
        assert_eq!(message(async { panic!("plain") }).await, "plain");
        assert_eq!(message(async { panic!("of {}", 2) }).await, "of 2");
        assert_eq!(message(async { panic::panic_any(1) }).await, "the payload is not a string");
        let after_a_wait = async {
            tokio::task::yield_now().await;
            panic!("late")
        };
        assert_eq!(message(after_a_wait).await, "late");
    }

    #[tokio::test]
    async fn panic_in_drop_becomes_an_error() {
        assert_eq!(message(async { drop(PanicsInDrop("dropped")) }).await, "dropped");
        assert_eq!(message(async { panic::panic_any(PanicsInDrop("payload")) }).await, "the payload is not a string");
    }

    struct PanicsInDropTwice(bool);

    impl Drop for PanicsInDropTwice {
        fn drop(&mut self) {
            if self.0 {
                panic::panic_any(PanicsInDropTwice(false));
            }
            panic!("again");
        }
    }

    #[tokio::test]
    async fn payload_that_panics_twice_in_drop_is_caught() {
        assert!(guarded(async { panic::panic_any(PanicsInDropTwice(true)) }).await.is_err());
    }

    #[tokio::test]
    async fn panic_caught_by_user_code_leaves_no_place() {
        note_places_after_a_hook();
        let _ = catch_unwind(|| panic!("own"));
        let panicked = guarded(async { panic::resume_unwind(Box::new("carried")) }).await.unwrap_err();
        assert_eq!(panicked.to_string(), "panicked: carried");
    }

    /// Completes at its first poll and panics when it is dropped after that.
    struct DoneAndPanicsInDrop(#[allow(dead_code)] PanicsInDrop);

    impl Future for DoneAndPanicsInDrop {
        type Output = ();

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[tokio::test]
    async fn future_that_panics_in_drop_fails() {
        assert_eq!(message(DoneAndPanicsInDrop(PanicsInDrop("held"))).await, "held");
    }

    #[tokio::test]
    async fn panic_has_its_place_after_note_places() {
        note_places_after_a_hook();
        let panicked = guarded(async { panic!("here") }).await.unwrap_err();
        assert!(panicked.to_string().starts_with(&format!("panicked at {}:", file!())), "{panicked}");
    }

    #[tokio::test]
    async fn previous_panic_hook_is_called() {
        note_places_after_a_hook();
        HOOKED.set(false);
        assert_eq!(message(async { panic!("for both hooks") }).await, "for both hooks");
        assert!(HOOKED.get());
    }

    #[tokio::test]
    async fn output_is_returned_without_a_panic() {
        assert_eq!(guarded(async { 7 }).await.unwrap(), 7);
    }
}
