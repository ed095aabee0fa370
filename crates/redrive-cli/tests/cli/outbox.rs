//! `redrive outbox`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redrive::Outgoing;
use redrive_outbox::Outbox;
use serde_json::Value;
use sqlx::sqlite::SqlitePool;
use tokio::runtime::Runtime;

use crate::kit::{Ran, command, directory, ran};
use crate::served::Served;

/// An SQLite database with an outbox's tables.
struct Shop {
    directory: PathBuf,
    url: String,
    runtime: Runtime,
}

impl Shop {
    fn new() -> Self {
        let directory = directory();
        let url = format!("sqlite://{}/shop.db?mode=rwc", directory.display());
        let shop = Self { directory, url, runtime: Runtime::new().unwrap() };
        let migrated = shop.run(&["migrate"]);
        assert_eq!((migrated.status, migrated.stderr.as_str()), (0, ""), "{}", migrated.stdout);
        shop
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.directory, &[&["outbox"], arguments].concat());
        command.env("DATABASE_URL", &self.url);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    fn enqueue(&self, queue_url: &str, message: Outgoing) {
        self.runtime.block_on(async {
            let pool = SqlitePool::connect(&self.url).await.unwrap();
            let mut transaction = pool.begin().await.unwrap();
            Outbox::new(queue_url).enqueue(&mut transaction, message).await.unwrap();
            transaction.commit().await.unwrap();
            pool.close().await;
        });
    }

    fn execute(&self, sql: &'static str) {
        self.runtime.block_on(async {
            let pool = SqlitePool::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
            pool.close().await;
        });
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"]).stdout).unwrap()
    }

    /// Runs a relay until the outbox has this status, then asks it to end.
    fn relay(&self, served: &Served, arguments: &[&str], is_so: impl Fn(&Value) -> bool) {
        let always = ["relay", "--endpoint-url", &served.url, "--poll-interval", "10"];
        let mut relay = self.command(&[&always, arguments].concat());
        relay.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        let mut relay = relay.stderr(Stdio::piped()).spawn().unwrap();
        while !is_so(&self.status()) {
            assert!(relay.try_wait().unwrap().is_none(), "the relay ended early");
        }
        assert!(Command::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
        let ended = ran(relay.wait_with_output().unwrap());
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains("finishing running sends"), "{}", ended.stderr);
    }
}

#[test]
fn relay_sends_all_messages_and_ends_on_request() {
    let (shop, served) = (Shop::new(), Served::with(&["orders"]));
    for body in ["1", "2"] {
        shop.enqueue(&served.url_of("orders"), Outgoing::text(body));
    }
    let before = shop.run(&["status"]);
    assert!(before.status == 0 && before.stdout.starts_with("2 to be sent, the oldest for "), "{}", before.stdout);
    shop.relay(&served, &[], |status| status["pending"] == 0);
    assert_eq!(shop.run(&["status"]).stdout, "0 to be sent\n0 held behind a parked message\n0 parked\n");
    let mut bodies: Vec<_> = served.take("orders").into_iter().map(|message| message.body.unwrap()).collect();
    bodies.sort();
    assert_eq!(bodies, ["1", "2"]);
}

#[test]
fn refused_message_is_shown_and_retried() {
    let (shop, served) = (Shop::new(), Served::with(&["orders.fifo"]));
    shop.enqueue(&served.url_of("orders.fifo"), Outgoing::text("poison").group("g"));
    shop.enqueue(&served.url_of("orders.fifo"), Outgoing::text("behind").group("g"));
    shop.execute("update redrive_outbox set body = '' where body = 'poison'");
    shop.relay(&served, &["--park-after", "1"], |status| status["parked"] == 1 && status["held"] == 1);
    assert_eq!(shop.run(&["status"]).status, 1);
    let parked = shop.run(&["parked"]);
    assert!(
        parked.status == 1 && parked.stdout.contains("row 1") && parked.stdout.contains("empty"),
        "{}",
        parked.stdout
    );
    let json: Value = serde_json::from_str(&shop.run(&["parked", "--json"]).stdout).unwrap();
    assert_eq!((&json["row"], &json["group"]), (&1.into(), &"g".into()));

    shop.execute("update redrive_outbox set body = 'mended' where body = ''");
    let other = shop.run(&["retry", "7"]);
    assert!(other.status == 1 && other.stdout.contains("not parked"), "{}", other.stdout);
    assert_eq!(shop.run(&["retry", "1"]).stdout, "1 will be sent again\n");
    shop.relay(&served, &[], |status| status["pending"] == 0);
    let bodies: Vec<_> = served.take("orders.fifo").into_iter().map(|message| message.body.unwrap()).collect();
    assert_eq!(bodies, ["mended", "behind"]);
    assert_eq!(shop.run(&["parked"]).stdout, "no message is parked\n");
}

#[test]
fn migrations_are_printed_for_each_database() {
    let printed = |arguments: &[&str]| {
        ran(command(&directory(), &[&["outbox", "migrations", "--database"], arguments].concat()).output().unwrap())
    };
    assert!(printed(&["postgres"]).stdout.contains("create table redrive_outbox (\n    id bigint generated always"));
    assert!(printed(&["sqlite"]).stdout.contains("autoincrement"));
    assert!(printed(&["sqlite", "--after", "1"]).stdout.starts_with("-- Version 2"));
    assert_eq!(printed(&["sqlite", "--after", "2"]).stdout, "");
}

#[test]
fn unusable_database_is_one_clear_error() {
    let of = |url: &str| {
        let mut status = command(&directory(), &["outbox", "status"]);
        let ran = ran(status.env("DATABASE_URL", url).output().unwrap());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
        ran.stderr
    };
    assert!(of("mysql://root:secret@localhost/shop").contains("neither postgres:// nor sqlite:"));
    let unreachable = of("postgres://app:secret@127.0.0.1:1/shop");
    assert!(unreachable.contains("--database-url") && !unreachable.contains("secret"), "{unreachable}");
    assert!(of("sqlite:no/such/folder/shop.db").contains("--database-url"));
    let empty = Shop::new();
    empty.execute("drop table redrive_outbox_migration");
    let relay = empty.run(&["relay"]);
    assert!(relay.status == 2 && relay.stderr.contains("redrive outbox migrate"), "{}", relay.stderr);
}

/// `examples/outbox.rs` as a process.
struct Example {
    process: Child,
    address: String,
}

impl Example {
    fn begin(served: &Served) -> Self {
        let database = format!("sqlite://{}/shop.db", directory().display());
        let mut example = Command::new(example());
        example.env("DATABASE_URL", database).env("QUEUE_URL", served.url_of("orders")).env("PORT", "0");
        example.env("AWS_ENDPOINT_URL_SQS", &served.url).env("AWS_REGION", "us-east-1");
        example.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        let mut process = example.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("taking orders on http://").unwrap().trim_end_matches('/').to_owned();
        Self { process, address }
    }

    /// Posts a body. Returns the status of the answer.
    fn post(&self, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head =
            format!("POST / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    /// Asks it to end. Returns whether it ends successfully.
    fn ends(mut self) -> bool {
        assert!(Command::new("kill").args(["-INT", &self.process.id().to_string()]).status().unwrap().success());
        self.process.wait().unwrap().success()
    }
}

/// Returns the example's executable. Cargo builds the examples for all tests at once, not for a single test.
fn example() -> PathBuf {
    let built = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("outbox");
    assert!(built.exists(), "{} does not exist; run `cargo build --example outbox --all-features`", built.display());
    built
}

#[test]
fn order_of_the_example_is_sent_once() {
    let served = Served::with(&["orders"]);
    let example = Example::begin(&served);
    let order = r#"{"order_id": "order-1", "customer": "Ada", "currency": "EUR",
        "items": [{"sku": "apple", "quantity": 2, "unit_price_cents": 50}]}"#;
    assert_eq!(example.post("no order"), "400");
    assert_eq!(example.post(order), "202");
    assert_eq!(example.post(order), "409");
    let (mut messages, limit) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while messages.is_empty() {
        assert!(Instant::now() < limit, "the message was not sent in time");
        messages = served.take("orders");
    }
    assert!(example.ends());
    messages.extend(served.take("orders"));
    let bodies: Vec<Value> =
        messages.iter().map(|message| serde_json::from_str(message.body().unwrap()).unwrap()).collect();
    assert_eq!(bodies, [serde_json::from_str::<Value>(order).unwrap()]);
}
