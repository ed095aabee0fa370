//! Any bytes as an event: nothing panics, and what failed is reported. What that means for bytes that are no event of
//! SQS's at all is in `tests/support/invariants.rs`, which the property tests share.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/support/invariants.rs"]
mod invariants;

thread_local! {
    /// Kept from one input to the next: to build it takes longer than most inputs do.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime of one thread");
}

fuzz_target!(|bytes: &[u8]| RUNTIME.with(|runtime| runtime.block_on(invariants::check(bytes))));
