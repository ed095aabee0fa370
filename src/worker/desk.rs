//! Where pollers get what a poll takes: permits for all messages that it may bring.
//!
//! No message is received without a permit to run it. So a slow handler stops the polling by itself, and no message waits in this
//! process while its visibility timeout runs out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::pace::Pace;

/// What SQS hands out at a time.
const MAX_MESSAGES: usize = 10;

/// How long a poll with a permit waits for more of them. A call costs the same for one message as for ten.
const LINGER: Duration = Duration::from_millis(5);

pub(super) struct Desk {
    permits: Arc<Semaphore>,
    /// How many permits there are.
    room: usize,
    /// Held by the poller whose turn it is: if several took permits one by one, each would get some.
    turn: tokio::sync::Mutex<()>,
    pace: Option<Mutex<Pace>>,
}

impl Desk {
    pub(super) fn new(room: usize, messages_per_second: Option<f64>) -> Self {
        let pace = messages_per_second.map(|limit| Mutex::new(Pace::new(limit, Instant::now())));
        let room = room.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(room)), room, turn: tokio::sync::Mutex::default(), pace }
    }

    /// How many polls it takes to fill it.
    pub(super) fn polls(&self) -> usize {
        (self.room / MAX_MESSAGES).max(1)
    }

    /// Waits for at least one permit, and a little for more: up to ten.
    pub(super) async fn permits(&self) -> OwnedSemaphorePermit {
        let _turn = self.turn.lock().await;
        let mut permits = self.acquire(1).await;
        // All at once: whoever takes them one by one is woken for each.
        let more = MAX_MESSAGES.min(self.room) - 1;
        match timeout(LINGER, self.acquire(more)).await {
            Ok(more) => permits.merge(more),
            Err(_) => self.take_free(&mut permits, more),
        }
        let paced = self.paced(permits.num_permits()).await;
        // Those that are too many go back.
        permits.split(paced).unwrap_or(permits)
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.permits.clone().acquire_many_owned(count).await.expect("the semaphore is never closed")
    }

    /// Adds what is free, up to so many.
    fn take_free(&self, permits: &mut OwnedSemaphorePermit, most: usize) {
        for _ in 0..most {
            match self.permits.clone().try_acquire_owned() {
                Ok(permit) => permits.merge(permit),
                Err(_) => return,
            }
        }
    }

    async fn paced(&self, most: usize) -> usize {
        let Some(pace) = &self.pace else { return most };
        loop {
            let taken = pace.lock().unwrap_or_else(PoisonError::into_inner).take(most, Instant::now());
            match taken {
                Ok(taken) => return taken,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// A poll has brought so many messages less than there were permits for.
    pub(super) fn unused(&self, count: usize) {
        if let Some(pace) = &self.pace {
            pace.lock().unwrap_or_else(PoisonError::into_inner).give_back(count, Instant::now());
        }
    }
}
