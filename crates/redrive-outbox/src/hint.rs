//! Notifications of new rows. They may be lost, and then the rows are found by looking.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Error;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::store::Store;

/// What a relay has heard.
#[derive(Debug, Default)]
pub(super) struct Words {
    word: Notify,
    listens: AtomicBool,
}

impl Words {
    fn say(&self) {
        self.word.notify_one();
    }

    /// Waits for a word. One that was said before counts too: several are one reason to look.
    pub(super) async fn heard(&self) {
        self.word.notified().await;
    }

    /// Whether new rows are heard of now.
    pub(super) fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }
}

/// A connection that notifications come by.
pub struct Listener {
    listener: PgListener,
    /// A channel of its own, by which it hears itself.
    own: String,
}

enum Word {
    /// There may be new rows.
    Rows,
    Own,
}

impl Listener {
    pub(super) async fn new(mut listener: PgListener, channel: &str) -> Result<Self, Error> {
        let own = format!("{channel}_{:016x}", fastrand::u64(..));
        // It would wait without a limit.
        listener.eager_reconnect(false);
        listener.listen_all([channel, &own]).await?;
        Ok(Self { listener, own })
    }

    /// Returns `None` where the connection is lost.
    async fn word(&mut self) -> Result<Option<Word>, Error> {
        let Some(notification) = self.listener.try_recv().await? else { return Ok(None) };
        Ok(Some(if notification.channel() == self.own { Word::Own } else { Word::Rows }))
    }
}

/// How long it may take to begin to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a listener a relay looks for rows this often at least, and tries to listen again.
pub(super) const LISTEN_EVERY: Duration = Duration::from_secs(10);
/// Notifications do not pass a pooler in transaction mode, and hardly ever will.
const LISTEN_AFTER_DEAF: Duration = Duration::from_secs(600);
/// A connection that has brought nothing for so long is tested.
const TEST_EVERY: Duration = Duration::from_secs(30);
/// How long a notification of its own may take to a listener.
const TEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why nobody listens any more.
enum Ended {
    /// The listener does not hear what it says itself.
    Deaf,
    Silent,
    Failed(Error),
}

/// Listens for as long as it is polled, on one connection after the other.
pub(super) async fn listen<DB: Store>(access: &Access<DB>, words: &Words) {
    loop {
        let ended = listen_once(access, words).await;
        words.listens.store(false, Ordering::Relaxed);
        // What was said meanwhile is lost, and that it may be is as good as a word.
        words.say();
        let again_s = LISTEN_EVERY.as_secs();
        let wait = match ended {
            Ended::Deaf => {
                tracing::warn!(
                    "the database does not pass notifications on, as behind a pooler in transaction mode; \
                     the relay looks for new messages at its poll interval instead, at most every {again_s} s"
                );
                LISTEN_AFTER_DEAF
            }
            Ended::Silent => {
                tracing::warn!(
                    "the connection for notifications is silent; the relay opens another one in {again_s} s"
                );
                LISTEN_EVERY
            }
            Ended::Failed(error) => {
                tracing::debug!(%error, "the relay hears of no new messages, and looks for them every {again_s} s at least");
                LISTEN_EVERY
            }
        };
        sleep(wait).await;
    }
}

async fn listen_once<DB: Store>(access: &Access<DB>, words: &Words) -> Ended {
    let mut listener = match timeout(LISTEN_TIMEOUT, DB::listen(access)).await {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => return Ended::Failed(error),
        Err(_) => return Ended::Silent,
    };
    match hears_itself(access, &mut listener, words).await {
        Ok(true) => {}
        Ok(false) => return Ended::Deaf,
        Err(error) => return Ended::Failed(error),
    }
    words.listens.store(true, Ordering::Relaxed);
    // What came before it listened is looked for.
    words.say();
    loop {
        match timeout(TEST_EVERY, listener.word()).await {
            Ok(Ok(Some(Word::Rows))) => words.say(),
            Ok(Ok(Some(Word::Own))) => {}
            Ok(Ok(None)) => return Ended::Failed(lost()),
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => match hears_itself(access, &mut listener, words).await {
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

/// Lets another connection notify the listener. Behind a pooler in transaction mode, `LISTEN` succeeds and nothing ever comes.
async fn hears_itself<DB: Store>(access: &Access<DB>, listener: &mut Listener, words: &Words) -> Result<bool, Error> {
    DB::notify(access, &listener.own).await?;
    let heard = timeout(TEST_TIMEOUT, async {
        loop {
            match listener.word().await? {
                Some(Word::Own) => return Ok(true),
                Some(Word::Rows) => words.say(),
                None => return Err(lost()),
            }
        }
    });
    heard.await.unwrap_or(Ok(false))
}
