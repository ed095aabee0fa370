//! A proxy between a relay and its database that counts requests, cuts connections, and asks a gate before it forwards.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Decides about each request before it is forwarded, and about its answer, by name. If it refuses, the connection
/// breaks.
pub(crate) trait Gate: Send + Sync + 'static {
    fn pass<'a>(&'a self, what: &'a str) -> BoxFuture<'a, bool>;
}

/// Lets everything pass.
struct Open;

impl Gate for Open {
    fn pass<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    round_trips: Arc<AtomicUsize>,
    cuts: watch::Sender<usize>,
    silences: watch::Sender<usize>,
}

impl Proxy {
    /// Creates a proxy for the server on that port.
    pub(crate) async fn to(server: u16) -> Self {
        Self::with_gate(server, Open).await
    }

    pub(crate) async fn with_gate(server: u16, gate: impl Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (round_trips, cuts) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
        let silences = watch::Sender::new(0);
        let (counter, gate) = (round_trips.clone(), Arc::new(gate));
        let ends = (cuts.subscribe(), silences.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, counter.clone(), ends.clone(), gate.clone()));
            }
        });
        Self { port, round_trips, cuts, silences }
    }

    /// Returns how often a client has asked for an answer: its `Sync` messages and its simple queries.
    pub(crate) fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Drops all traffic of the existing connections in both directions, as a firewall does that forgets them. New
    /// connections pass.
    pub(crate) fn silence(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }
}

async fn connect(
    client: TcpStream,
    server: u16,
    counter: Arc<AtomicUsize>,
    (mut cut, mut silence): (watch::Receiver<usize>, watch::Receiver<usize>),
    gate: Arc<impl Gate>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let what = watch::Sender::new("a connection".to_owned());
    let asked = what.subscribe();
    cut.mark_unchanged();
    silence.mark_unchanged();
    tokio::select! {
        _ = requests(&mut from_client, &mut to_server, &counter, &*gate, &what) => return,
        _ = answers(&mut from_server, &mut to_client, &*gate, &asked) => return,
        Ok(()) = cut.changed() => return,
        Ok(()) = silence.changed() => {}
    }
    // The client's data is dropped, and it receives nothing. The server receives nothing until the client is gone.
    let mut dropped = [0; 1024];
    while from_client.read(&mut dropped).await.is_ok_and(|bytes| bytes > 0) {}
}

/// A protocol message: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
struct Message {
    kind: Option<u8>,
    body: Vec<u8>,
}

impl Message {
    /// Reads a message. A client's first message has no type.
    async fn read(from: &mut OwnedReadHalf, has_type: bool) -> io::Result<Self> {
        let kind = if has_type { Some(from.read_u8().await?) } else { None };
        let len = from.read_u32().await?;
        let mut body = vec![0; usize::try_from(len).unwrap_or_default().saturating_sub(4)];
        from.read_exact(&mut body).await?;
        Ok(Self { kind, body })
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.kind);
        to.extend(u32::try_from(self.body.len() + 4).unwrap().to_be_bytes());
        to.extend(&self.body);
    }

    /// Returns the texts at the message's beginning.
    fn texts(&self) -> impl Iterator<Item = String> {
        self.body.split(|&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// The request for encryption. One byte answers it, and then the client starts over.
const ENCRYPTION: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Forwards a client's requests, together up to the point where it asks for an answer.
async fn requests(
    client: &mut OwnedReadHalf,
    server: &mut OwnedWriteHalf,
    counter: &AtomicUsize,
    gate: &impl Gate,
    what: &watch::Sender<String>,
) -> io::Result<()> {
    let (mut has_type, mut request, mut statements) = (false, Vec::new(), HashMap::new());
    loop {
        let message = Message::read(client, has_type).await?;
        message.write(&mut request);
        name(&message, &mut statements, what);
        if !has_type && message.body == ENCRYPTION {
            server.write_all(&std::mem::take(&mut request)).await?;
            continue;
        }
        if matches!(message.kind, Some(b'S' | b'Q')) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        if matches!(message.kind, None | Some(b'S' | b'Q')) {
            let name = what.borrow().clone();
            if !gate.pass(&format!("{name} is asked for")).await {
                return Ok(());
            }
            server.write_all(&std::mem::take(&mut request)).await?;
        }
        has_type = true;
    }
}

/// Names a request: the first words of its statement, and after a commit also those of the committed statement.
fn name(message: &Message, statements: &mut HashMap<String, String>, what: &watch::Sender<String>) {
    let words = |sql: &str| sql.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
    let mut texts = message.texts();
    match message.kind {
        Some(b'P') => {
            let (statement, sql) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
            what.send_replace(format!("a plan of {}", words(&sql)));
            statements.insert(statement, words(&sql));
        }
        Some(b'B') => {
            drop(texts.nth(1).and_then(|name| statements.get(&name)).map(|sql| what.send_replace(sql.clone())))
        }
        Some(b'Q') => {
            let sql = words(&texts.next().unwrap_or_default()).to_lowercase();
            let before = what.borrow().clone();
            what.send_replace(if sql == "commit" { format!("commit after {before}") } else { sql });
        }
        _ => {}
    }
}

/// Forwards the server's answers one at a time.
async fn answers(
    server: &mut OwnedReadHalf,
    client: &mut OwnedWriteHalf,
    gate: &impl Gate,
    what: &watch::Receiver<String>,
) -> io::Result<()> {
    let mut answer = Vec::new();
    loop {
        let Ok(kind) = server.read_u8().await else {
            // The server has sent its reason.
            return client.write_all(&answer).await;
        };
        // The answer to a refused encryption is this byte alone.
        if kind == b'N' && what.borrow().as_str() == "a connection" && answer.is_empty() {
            client.write_all(&[kind]).await?;
            continue;
        }
        let mut message = Message::read(server, false).await?;
        message.kind = Some(kind);
        message.write(&mut answer);
        // A notification belongs to no request.
        if kind == b'A' {
            client.write_all(&std::mem::take(&mut answer)).await?;
        }
        if kind == b'Z' {
            let name = what.borrow().clone();
            if !gate.pass(&format!("{name} is answered")).await {
                return Ok(());
            }
            client.write_all(&std::mem::take(&mut answer)).await?;
        }
    }
}
