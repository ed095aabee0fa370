//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

#[cfg_attr(not(test), expect(dead_code, reason = "the poller that drives it is not written yet"))]
mod mapping;
