//! A pooler in transaction mode, such as PgBouncer: each transaction gets the next server connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redrive::Outgoing;
use redrive_outbox::{Outbox, Relay};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Pool, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::database::TestDatabase;
use crate::kit::{World, in_time, quick};
use crate::queue::secs;

/// Server connections that all clients share.
struct Pooler {
    servers: Vec<Mutex<TcpStream>>,
    next: AtomicUsize,
    /// The server's first messages.
    greeting: Vec<u8>,
}

/// Reads a message that begins with its type.
async fn read(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let len = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
    message.resize(len + 1, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// Reads answers until the server is ready again. The last one tells whether a transaction is open.
async fn answers(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let message = read(from).await?;
        all.extend(&message);
        if message[0] == b'Z' {
            return Ok(all);
        }
    }
}

/// Reads a client's first message, which has no type.
async fn begin(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    loop {
        let mut message = vec![0; 4];
        client.read_exact(&mut message).await?;
        let len = u32::from_be_bytes([message[0], message[1], message[2], message[3]]) as usize;
        message.resize(len, 0);
        client.read_exact(&mut message[4..]).await?;
        const ENCRYPTION: [u8; 4] = 80_877_103_u32.to_be_bytes();
        if message[4..] != ENCRYPTION {
            return Ok(message);
        }
        client.write_all(b"N").await?;
    }
}

impl Pooler {
    /// Starts a pooler with that many connections. Returns its port.
    async fn start(server: u16, database: &str, connections: usize) -> u16 {
        let (mut servers, mut greeting) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
            startup.extend(format!("user\0redrive\0database\0{database}\0\0").as_bytes());
            let len = u32::try_from(startup.len()).unwrap().to_be_bytes();
            startup[..4].copy_from_slice(&len);
            stream.write_all(&startup).await.unwrap();
            greeting = answers(&mut stream).await.unwrap();
            servers.push(Mutex::new(stream));
        }
        let pooler = Arc::new(Self { servers, next: AtomicUsize::new(0), greeting });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let pooler = pooler.clone();
                tokio::spawn(async move { pooler.serve(client).await });
            }
        });
        port
    }

    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        begin(&mut client).await?;
        client.write_all(&self.greeting).await?;
        let mut first = self.request(&mut client).await?;
        while let Some(mut request) = first.take() {
            let server = &self.servers[self.next.fetch_add(1, Ordering::SeqCst) % self.servers.len()];
            let mut server = server.lock().await;
            loop {
                server.write_all(&request).await?;
                let answers = answers(&mut server).await?;
                client.write_all(&answers).await?;
                let is_over = answers.last() == Some(&b'I');
                let next = if is_over { None } else { self.request(&mut client).await? };
                match next {
                    Some(next) => request = next,
                    None if is_over => break,
                    None => {
                        // The client left in the middle of its transaction.
                        server.write_all(b"Q\0\0\0\x0drollback\0").await?;
                        self::answers(&mut server).await?;
                        return Ok(());
                    }
                }
            }
            drop(server);
            first = self.request(&mut client).await?;
        }
        Ok(())
    }

    /// Reads the messages that ask for one answer. Returns `None` if the client is gone.
    async fn request(&self, client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
        let mut request = Vec::new();
        loop {
            let Ok(message) = read(client).await else { return Ok(None) };
            let kind = message[0];
            request.extend(message);
            match kind {
                b'S' | b'Q' => return Ok(Some(request)),
                b'X' => return Ok(None),
                _ => {}
            }
        }
    }
}

async fn pool_through_a_pooler(world: &World<Postgres>) -> Pool<Postgres> {
    let name = Postgres::texts(&world.pool, "select current_database()::text").await.remove(0);
    let server = Postgres::numbers(&world.pool, "select inet_server_port()::bigint").await.remove(0);
    let port = Pooler::start(u16::try_from(server).unwrap(), &name, 5).await;
    let url = format!("postgres://redrive@127.0.0.1:{port}/{name}");
    PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap()
}

#[tokio::test]
async fn relay_works_behind_a_pooler_in_transaction_mode() {
    let world = World::<Postgres>::new("orders.fifo").await;
    let pool = pool_through_a_pooler(&world).await;
    let relays = || quick(Relay::new(pool.clone(), world.queue.client())).run_until(std::future::pending());
    let bodies: Vec<_> = (0..100).map(|n| format!("{n}")).collect();
    let sent = async {
        for body in &bodies {
            world.enqueue(Outgoing::text(body).group("g")).await;
        }
        world.until(|status| status.pending == 0).await;
    };
    tokio::select! {
        () = in_time(sent) => {}
        ended = relays() => panic!("{ended:?}"),
        ended = relays() => panic!("{ended:?}"),
    }
    assert_eq!(world.queue.bodies().await, bodies);
    assert_eq!(Outbox::status(&pool).await.unwrap().pending, 0);
    Outbox::migrate(&pool).await.unwrap();
    assert_eq!(Outbox::retry(&pool, None).await.unwrap(), 0);
    assert_eq!(Outbox::parked(&pool, 1).await.unwrap(), []);
}

#[tokio::test]
async fn relay_without_notifications_behind_a_pooler_polls() {
    let world = World::<Postgres>::new("orders").await;
    let pool = pool_through_a_pooler(&world).await;
    let relay = Relay::new(pool, world.queue.client()).poll_interval(secs(3_600));
    let sent = async {
        // By then the relay has looked, and its notification test is over.
        tokio::time::sleep(secs(6)).await;
        world.enqueue(Outgoing::text("x")).await;
        tokio::time::timeout(secs(12), world.until(|status| status.pending == 0)).await.unwrap();
    };
    relay.run_until(in_time(sent)).await.unwrap();
}

#[tokio::test]
async fn enqueue_without_prepared_statements_works_behind_a_pooler() {
    let world = World::<Postgres>::new("orders").await;
    let pool = pool_through_a_pooler(&world).await;
    for outbox in [Outbox::new(&world.queue.url), Outbox::new(&world.queue.url).without_notify()] {
        let outbox = outbox.without_prepared_statements();
        for n in 0..10 {
            let mut transaction = pool.begin().await.unwrap();
            outbox.enqueue(&mut transaction, Outgoing::text(n.to_string())).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await.len(), 20);
}

#[tokio::test]
async fn enqueue_with_prepared_statements_behind_a_pooler_fails_with_the_remedy() {
    let world = World::<Postgres>::new("orders").await;
    let pool = pool_through_a_pooler(&world).await;
    let mut refused = Vec::new();
    for _ in 0..10 {
        let mut transaction = pool.begin().await.unwrap();
        match world.outbox.enqueue(&mut transaction, Outgoing::text("x")).await {
            Ok(_) => transaction.commit().await.unwrap(),
            Err(error) => refused.push(error),
        }
    }
    assert!(!refused.is_empty());
    for error in refused {
        assert!(error.is_pooled() && error.to_string().contains("without_prepared_statements"), "{error:?}");
    }
}

/// Another client has prepared a statement of the same name on the server connection.
#[tokio::test]
async fn answer_of_another_statement_is_an_error() {
    let world = World::<Postgres>::new("orders").await;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with((*world.pool.connect_options()).clone());
    let mut transaction = pool.begin().await.unwrap();
    world.outbox.enqueue(&mut transaction, Outgoing::text("x")).await.unwrap();
    let name = "select name from pg_prepared_statements where statement like '%insert into redrive_outbox%'";
    let name: String = sqlx::query_scalar(name).persistent(false).fetch_one(&mut *transaction).await.unwrap();
    let other = format!(
        "deallocate {name}; prepare {name} (text, text, text, text, int2, text, text, int4, text, int8) as
            select 7::bigint, null::text where $10 is not null and $1 || $2 || $6 || $7 is not null and $5 >= 0
                and ($3 is null or $4 is null or $8 is null or $9 is null)"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(other)).execute(&mut *transaction).await.unwrap();
    let error = world.outbox.enqueue(&mut transaction, Outgoing::text("y")).await.unwrap_err();
    assert!(error.is_pooled(), "{error:?}");
}
