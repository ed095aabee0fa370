//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the mapping that invokes functions is yet to come"))]
mod function;
