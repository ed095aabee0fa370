//! Notifications of new rows. A lost notification only delays its rows until the next look.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Error;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::store::Store;

/// Notifications that a relay has received.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    arrived: Notify,
    listens: AtomicBool,
}

impl Notifications {
    fn notify(&self) {
        self.arrived.notify_one();
    }

    /// Waits for a notification. Notifications from before the call count too, and several count as one.
    pub(super) async fn notified(&self) {
        self.arrived.notified().await;
    }

    /// Returns whether a listener is connected now.
    pub(super) fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }
}

/// A connection that receives notifications.
pub struct Listener {
    listener: PgListener,
    /// The listener's own channel, on which it tests itself.
    own: String,
}

enum Notification {
    /// There may be new rows.
    Rows,
    Own,
}

impl Listener {
    pub(super) async fn new(mut listener: PgListener, channel: &str) -> Result<Self, Error> {
        let own = format!("{channel}_{:016x}", fastrand::u64(..));
        // An eager reconnect would wait without a limit.
        listener.eager_reconnect(false);
        listener.listen_all([channel, &own]).await?;
        Ok(Self { listener, own })
    }

    /// Returns the next notification, or `None` if the connection is lost.
    async fn next(&mut self) -> Result<Option<Notification>, Error> {
        let Some(notification) = self.listener.try_recv().await? else { return Ok(None) };
        Ok(Some(if notification.channel() == self.own { Notification::Own } else { Notification::Rows }))
    }
}

/// Limits how long a listener may take to connect.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a listener, a relay looks for rows and tries to listen again at least this often.
pub(super) const LISTEN_EVERY: Duration = Duration::from_secs(10);
/// How long to wait after a failed self-test. Notifications do not pass a pooler in transaction mode, and that seldom
/// changes.
const LISTEN_AFTER_NO_DELIVERY: Duration = Duration::from_secs(600);
/// A connection that was quiet for this long is tested.
const TEST_EVERY: Duration = Duration::from_secs(30);
/// Limits how long a listener waits for its own test notification.
const TEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why listening ended.
enum Ended {
    /// The listener does not receive its own notification.
    NotDelivered,
    Silent,
    Failed(Error),
}

/// Listens while it is polled, and replaces each connection that ends.
pub(super) async fn listen<DB: Store>(access: &Access<DB>, notifications: &Notifications) {
    loop {
        let ended = listen_once(access, notifications).await;
        notifications.listens.store(false, Ordering::Relaxed);
        // Notifications sent meanwhile are lost, so the relay looks once.
        notifications.notify();
        let again_s = LISTEN_EVERY.as_secs();
        let wait = match ended {
            Ended::NotDelivered => {
                tracing::warn!(
                    "the database does not pass notifications on, as behind a pooler in transaction mode; \
                     the relay looks for new messages at its poll interval instead, at most every {again_s} s"
                );
                LISTEN_AFTER_NO_DELIVERY
            }
            Ended::Silent => {
                tracing::warn!(
                    "the connection for notifications is silent; the relay opens another one in {again_s} s"
                );
                LISTEN_EVERY
            }
            Ended::Failed(error) => {
                tracing::debug!(%error, "the relay receives no notifications; it looks for messages at least every {again_s} s");
                LISTEN_EVERY
            }
        };
        sleep(wait).await;
    }
}

async fn listen_once<DB: Store>(access: &Access<DB>, notifications: &Notifications) -> Ended {
    let mut listener = match timeout(LISTEN_TIMEOUT, DB::listen(access)).await {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => return Ended::Failed(error),
        Err(_) => return Ended::Silent,
    };
    match receives_its_own(access, &mut listener, notifications).await {
        Ok(true) => {}
        Ok(false) => return Ended::NotDelivered,
        Err(error) => return Ended::Failed(error),
    }
    notifications.listens.store(true, Ordering::Relaxed);
    // Rows written before the listener started had no notification, so the relay looks once.
    notifications.notify();
    loop {
        match timeout(TEST_EVERY, listener.next()).await {
            Ok(Ok(Some(Notification::Rows))) => notifications.notify(),
            Ok(Ok(Some(Notification::Own))) => {}
            Ok(Ok(None)) => return Ended::Failed(lost()),
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => match receives_its_own(access, &mut listener, notifications).await {
                Ok(true) => {}
                Ok(false) => return Ended::Silent,
                Err(error) => return Ended::Failed(error),
            },
        }
    }
}

fn lost() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection for notifications was lost"))
}

/// Returns whether the listener receives a notification from another connection. Behind a pooler in transaction mode
/// `LISTEN` succeeds, but no notification arrives.
async fn receives_its_own<DB: Store>(
    access: &Access<DB>,
    listener: &mut Listener,
    notifications: &Notifications,
) -> Result<bool, Error> {
    DB::notify(access, &listener.own).await?;
    let received = timeout(TEST_TIMEOUT, async {
        loop {
            match listener.next().await? {
                Some(Notification::Own) => return Ok(true),
                Some(Notification::Rows) => notifications.notify(),
                None => return Err(lost()),
            }
        }
    });
    received.await.unwrap_or(Ok(false))
}
