//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.
