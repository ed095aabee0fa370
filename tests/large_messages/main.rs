//! Sends and receives messages whose bodies are in S3, on tokio's paused clock.

mod memory;
mod receiving;
mod sending;
mod small_queues;
mod sns;
mod waits;

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/fake_s3.rs"]
mod fake_s3;
#[path = "../support/queue.rs"]
mod kit;

use redrive::LargeMessages;

use fake_s3::FakeS3;

const MIB: usize = 1_048_576;

fn through(s3: &FakeS3) -> LargeMessages {
    LargeMessages::with_client(&s3.client(), "payloads")
}
