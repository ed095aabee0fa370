//! What panics costs its record only.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::Poll;

/// A panic that was caught.
#[derive(Debug)]
pub struct Panicked {
    message: String,
    /// File, line and column, known where [`note_places`] was called before.
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

/// Runs a future, and turns a panic in it, or in its drop, into an error. `None` is left in its place.
///
/// It is lent, as whatever takes a future to wait for it has twice its size: what it was given, and what it has pinned.
///
/// Two panics get past it, and end the process: one while another unwinds, and any at all under `panic = "abort"`.
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
    // What the future still holds is dropped here and not by the caller, where a panic would cost more than the record.
    let dropped = catch(|| future.set(None));
    let output = end?;
    dropped.map(|()| output)
}

/// Calls a function, and turns a panic in it into an error.
pub(super) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    // A panic that a user's code caught itself has left its place behind.
    PLACE.set(None);
    // Nothing is looked at again that the panic may have left in pieces: the future is dropped, and that is all.
    catch_unwind(AssertUnwindSafe(call)).map_err(Panicked::new)
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let place = PLACE.take();
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(message), _) => (*message).to_owned(),
            (None, Some(message)) => message.clone(),
            (None, None) => "with a payload that is no text".to_owned(),
        };
        // A payload may be of any type, and so may panic in its drop, with a payload that may again.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        Self { message, place }
    }
}

thread_local! {
    /// Where this thread panicked last. The hook runs on the thread that panics, and so does the catch.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Has the places of panics noted, before the panic hook that is there now does what it does.
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

    /// Places are noted once in a process, so whichever test is first sets the hook that all of them find there.
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
    async fn a_panic_is_an_error_with_its_message() {
        assert_eq!(message(async { panic!("plain") }).await, "plain");
        assert_eq!(message(async { panic!("of {}", 2) }).await, "of 2");
        assert_eq!(message(async { panic::panic_any(1) }).await, "with a payload that is no text");
        let after_a_wait = async {
            tokio::task::yield_now().await;
            panic!("late")
        };
        assert_eq!(message(after_a_wait).await, "late");
    }

    #[tokio::test]
    async fn a_panic_in_drop_is_one_too() {
        assert_eq!(message(async { drop(PanicsInDrop("dropped")) }).await, "dropped");
        assert_eq!(
            message(async { panic::panic_any(PanicsInDrop("payload")) }).await,
            "with a payload that is no text"
        );
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
    async fn a_payload_may_panic_as_often_as_it_likes() {
        assert!(guarded(async { panic::panic_any(PanicsInDropTwice(true)) }).await.is_err());
    }

    #[tokio::test]
    async fn a_panic_that_was_caught_before_leaves_no_place_behind() {
        note_places_after_a_hook();
        let _ = catch_unwind(|| panic!("own"));
        let panicked = guarded(async { panic::resume_unwind(Box::new("carried")) }).await.unwrap_err();
        assert_eq!(panicked.to_string(), "panicked: carried");
    }

    /// Done at its first poll, and a panic when it is dropped after that.
    struct DoneAndPanicsInDrop(#[allow(dead_code)] PanicsInDrop);

    impl Future for DoneAndPanicsInDrop {
        type Output = ();

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[tokio::test]
    async fn a_future_that_panics_when_it_is_dropped_has_failed() {
        assert_eq!(message(DoneAndPanicsInDrop(PanicsInDrop("held"))).await, "held");
    }

    #[tokio::test]
    async fn the_place_is_known_where_places_are_noted() {
        note_places_after_a_hook();
        let panicked = guarded(async { panic!("here") }).await.unwrap_err();
        assert!(panicked.to_string().starts_with(&format!("panicked at {}:", file!())), "{panicked}");
    }

    #[tokio::test]
    async fn the_hook_that_was_there_before_is_called_too() {
        note_places_after_a_hook();
        HOOKED.set(false);
        assert_eq!(message(async { panic!("for both hooks") }).await, "for both hooks");
        assert!(HOOKED.get());
    }

    #[tokio::test]
    async fn what_does_not_panic_passes() {
        assert_eq!(guarded(async { 7 }).await.unwrap(), 7);
    }
}
