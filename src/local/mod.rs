//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

#[cfg_attr(not(feature = "cli"), expect(dead_code, unused_imports, reason = "the command is what checks"))]
pub(crate) mod check;
#[expect(dead_code, reason = "`redrive dev`, which is to start what is read here, is not there yet")]
pub(crate) mod template;
