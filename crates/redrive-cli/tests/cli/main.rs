//! Tests the `redrive` command by running it.

mod backlog;
mod dev;
mod dlq;
mod elsewhere;
mod fifo;
mod formats;
mod iam;
mod input;
mod kit;
mod languages;
mod mappings;
#[cfg(unix)]
mod outbox;
mod permissions;
mod proxy;
mod queue;
mod queues;
#[cfg(unix)]
mod rebuild;
mod redrive;
mod send;
mod served;
