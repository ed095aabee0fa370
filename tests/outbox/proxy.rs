//! What stands between a relay and its database: it counts, and it cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    round_trips: Arc<AtomicUsize>,
    cuts: watch::Sender<usize>,
}

impl Proxy {
    /// A proxy of the server on that port.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (round_trips, cuts) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
        let (counter, cut) = (round_trips.clone(), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, counter.clone(), cut.clone()));
            }
        });
        Self { port, round_trips, cuts }
    }

    /// How often a client has asked for an answer: its `Sync` messages, and its simple queries.
    pub(crate) fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn connect(client: TcpStream, server: u16, counter: Arc<AtomicUsize>, mut cut: watch::Receiver<usize>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((from_client, mut to_client), (mut from_server, to_server)) = (client.into_split(), server.into_split());
    cut.mark_unchanged();
    tokio::select! {
        _ = requests(from_client, to_server, &counter) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
        _ = cut.changed() => {}
    }
}

/// Passes messages of a client on: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
async fn requests(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, counter: &AtomicUsize) -> std::io::Result<()> {
    // The first has no type.
    let mut has_type = false;
    loop {
        let kind = if has_type { Some(client.read_u8().await?) } else { None };
        let len = client.read_u32().await?;
        let mut body = vec![0; usize::try_from(len).unwrap_or_default().saturating_sub(4)];
        client.read_exact(&mut body).await?;
        if matches!(kind, Some(b'S' | b'Q')) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        let mut message = Vec::with_capacity(body.len() + 5);
        message.extend(kind);
        message.extend(len.to_be_bytes());
        message.extend(&body);
        server.write_all(&message).await?;
        // An asked-for encryption is answered with one byte, and then it all begins anew.
        const ENCRYPTION: [u8; 4] = 80_877_103_u32.to_be_bytes();
        has_type = has_type || body != ENCRYPTION;
    }
}
