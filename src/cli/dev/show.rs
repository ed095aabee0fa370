//! From what happens to what is shown, in order, by one task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::demo::Account;
use super::screen::{Screen, Told};
use crate::local::poller::News;
use crate::local::queue::Happening;

/// How much later than it happened something is shown. A function's log comes through a pipe, its answer through a socket:
/// the log may be behind, and belongs before.
const LOG_DELAY: Duration = Duration::from_millis(20);

/// Something to be shown, and when it happened.
struct Item {
    at: Instant,
    what: What,
}

enum What {
    News(Arc<Told>, News),
    Happening(Happening),
}

/// Takes what happens, without waiting.
#[derive(Clone)]
pub(super) struct Show(mpsc::UnboundedSender<Item>);

/// The task that shows it. It ends when nobody is left who could tell of more.
pub(super) struct Shower(JoinHandle<()>);

impl Show {
    pub(super) fn start(screen: Arc<Screen>, account: Arc<Account>) -> (Self, Shower) {
        let (sender, mut items) = mpsc::unbounded_channel::<Item>();
        let show = async move {
            while let Some(Item { at, what }) = items.recv().await {
                tokio::time::sleep_until(at + LOG_DELAY).await;
                match what {
                    What::News(told, news) => screen.news(&told, &news),
                    What::Happening(happening) => screen.happening(&happening, account.why(&happening).as_deref()),
                }
            }
        };
        (Self(sender), Shower(tokio::spawn(show)))
    }

    pub(super) fn news(&self, told: &Arc<Told>, news: News) {
        self.send(What::News(told.clone(), news));
    }

    pub(super) fn happening(&self, happening: Happening) {
        self.send(What::Happening(happening));
    }

    fn send(&self, what: What) {
        // The task ends after all who send.
        let _ = self.0.send(Item { at: Instant::now(), what });
    }
}

impl Shower {
    pub(super) async fn end(self) {
        // A panic of it has been printed, and there is nothing more to show.
        let _ = self.0.await;
    }
}
