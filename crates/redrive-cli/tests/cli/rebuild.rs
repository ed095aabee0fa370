//! `redrive dev` rebuilds a function when its sources change. The function has no dependencies, so that its build takes
//! a moment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::kit::{GOOD, directory};

const MANIFEST: &str = "[package]\nname = \"place\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";

/// Prints the version that runs an invocation. If the event contains an address, the invocation waits there until it is
/// released.
const FUNCTION: &str = r#"
use std::io::{Read, Write};
use std::net::TcpStream;

fn call(line: &str, body: &str) -> String {
    let mut api = TcpStream::connect(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap()).unwrap();
    let length = body.len();
    write!(api, "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    api.read_to_string(&mut answer).unwrap();
    answer
}

fn main() {
    println!("VERSION runs in {}", std::env::var("AWS_REGION").unwrap());
    loop {
        let next = call("GET /2018-06-01/runtime/invocation/next", "");
        let id = next.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
        println!("VERSION has it");
        if let Some(address) = next.split("wait at ").nth(1).and_then(|rest| rest.split('"').next()) {
            TcpStream::connect(address).unwrap().read(&mut [0]).unwrap();
            println!("VERSION has waited");
        }
        call(&format!("POST /2018-06-01/runtime/invocation/{id}/response"), "{}");
    }
}
"#;

/// The limit of a wait, even on a machine that builds something else.
const LONG: Duration = Duration::from_secs(120);

/// The running command on its own package.
struct Dev {
    directory: PathBuf,
    child: Child,
    events: Receiver<Value>,
    queue_url: String,
}

impl Dev {
    /// Starts the command, and returns when the function runs.
    fn start() -> Self {
        let mut dev = Self::start_with(&[]);
        let said = dev.until(|event| said(event, "/orders"));
        dev.queue_url = said["message"].as_str().unwrap().strip_prefix("queue ").unwrap().to_owned();
        dev.until_log("one runs in eu-west-1");
        dev
    }

    fn start_with(files: &[(&str, &str)]) -> Self {
        let directory = directory();
        std::fs::create_dir(directory.join("src")).unwrap();
        files.iter().for_each(|(file, text)| write(&directory, file, text));
        write(&directory, "template.yaml", GOOD);
        write(&directory, "Cargo.toml", MANIFEST);
        write(&directory, "src/main.rs", &version("one"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command.args(["dev", "--port", "0", "--json"]).current_dir(&directory);
        // The target directory is inside the package, as usual. Its files must not count as changes.
        command.env("CARGO_TARGET_DIR", directory.join("target")).env("AWS_REGION", "eu-west-1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            let events = lines.map_while(Result::ok).map(|line| serde_json::from_str(&line).unwrap());
            events.take_while(|event: &Value| sender.send(event.clone()).is_ok()).for_each(drop);
        });
        Self { directory, child, events, queue_url: String::new() }
    }

    fn write(&self, file: &str, text: &str) {
        write(&self.directory, file, text);
    }

    fn send(&self, body: &str) {
        let address = self.queue_url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let mut sqs = TcpStream::connect(address).unwrap();
        let body = json!({"QueueUrl": self.queue_url, "MessageBody": body}).to_string();
        let length = body.len();
        let target = "X-Amz-Target: AmazonSQS.SendMessage\r\nConnection: close";
        write!(sqs, "POST / HTTP/1.1\r\nHost: localhost\r\n{target}\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        sqs.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Returns the events up to the one that matches.
    fn events_until(&self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.events.recv_timeout(LONG).unwrap_or_else(|error| panic!("{error} after {events:#?}"));
            events.push(event);
            if events.last().is_some_and(&is_it) {
                return events;
            }
        }
    }

    fn until(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.events_until(is_it).pop().unwrap()
    }

    fn until_log(&self, line: &str) {
        self.until(|event| event["event"] == "log" && event["line"] == line);
    }

    /// Waits for the command's end.
    fn status(&mut self) -> ExitStatus {
        let ended = loop {
            if let Err(error) = self.events.recv_timeout(LONG) {
                break error;
            }
        };
        assert_eq!(ended, RecvTimeoutError::Disconnected, "it still runs");
        self.child.wait().unwrap()
    }

    /// Sends what Ctrl-C sends, but to this process alone.
    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(directory: &Path, file: &str, text: &str) {
    std::fs::write(directory.join(file), text).unwrap();
}

fn version(version: &str) -> String {
    FUNCTION.replace("VERSION", version)
}

/// Returns a build script that runs until the test releases it.
fn hanging(lives: &TcpListener) -> String {
    let address = lives.local_addr().unwrap();
    let read = "let _ = std::io::Read::read(&mut life, &mut [0]);";
    format!("fn main() {{ if let Ok(mut life) = std::net::TcpStream::connect(\"{address}\") {{ {read} }} }}")
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Waits for a program to connect. It lives as long as its connection.
fn accept(lives: &TcpListener) -> TcpStream {
    let (lives, (sender, receiver)) = (lives.try_clone().unwrap(), channel());
    thread::spawn(move || sender.send(lives.accept().unwrap().0));
    let life = receiver.recv_timeout(LONG).expect("a program connects");
    life.set_read_timeout(Some(LONG)).unwrap();
    life
}

fn has_ended(life: &mut TcpStream) -> bool {
    matches!(life.read(&mut [0]), Ok(0))
}

fn said(event: &Value, text: &str) -> bool {
    event["event"] == "info" && event["message"].as_str().unwrap().contains(text)
}

fn is(name: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

#[test]
fn changed_function_runs_while_old_invocations_finish() {
    let (dev, waits) = (Dev::start(), listen());
    dev.send(&format!("wait at {}", waits.local_addr().unwrap()));
    let waiting = accept(&waits);
    dev.write("src/main.rs", &version("two"));
    dev.until(is("rebuilt"));
    dev.send("another");
    dev.until_log("two has it");
    drop(waiting);
    let events = dev.events_until(|event| event["line"] == "one has waited");
    let batch = events.iter().rfind(|event| event["event"] == "batch").unwrap();
    assert_eq!(batch["messages"][0]["done"], true, "{batch}");
}

#[test]
fn function_that_does_not_build_stays_as_it_was() {
    let dev = Dev::start();
    dev.send("first");
    dev.until_log("one has it");
    dev.write("src/main.rs", "fn main() { mistyped");
    let failed = dev.until(is("rebuild_failed"));
    assert!(failed["error"].as_str().unwrap().contains("does not build"), "{failed}");
    dev.send("second");
    dev.until_log("one has it");
    // This module is in a new directory.
    std::fs::create_dir(dev.directory.join("src/part")).unwrap();
    dev.write("src/part/mod.rs", "pub const WRONG: u8 = 256;");
    dev.write("src/main.rs", &format!("mod part;\n{}", version("three")));
    dev.until(is("rebuild_failed"));
    dev.write("src/part/mod.rs", "pub const RIGHT: u8 = 255;");
    dev.until(is("rebuilt"));
    dev.send("third");
    dev.until_log("three has it");
}

#[test]
fn equal_contents_are_not_a_change_and_a_template_is_not_read_again() {
    let dev = Dev::start();
    dev.send("first");
    dev.until_log("one has it");
    dev.write("src/main.rs", &version("one"));
    let lock = std::fs::read_to_string(dev.directory.join("Cargo.lock")).unwrap();
    dev.write("Cargo.lock", &lock);
    dev.write("src/.main.rs.swp", "an editor's");
    dev.write("template.yaml", &GOOD.replace("maxReceiveCount: 5", "maxReceiveCount: 6"));
    let events = dev.events_until(|event| said(event, "template.yaml has changed"));
    assert!(events.last().unwrap()["message"].as_str().unwrap().contains("start it again"), "{events:?}");
    dev.write("src/main.rs", &version("two"));
    let more = dev.events_until(is("rebuilt"));
    let builds = events.iter().chain(&more).filter(|event| said(event, "building")).count();
    assert_eq!(builds, 1, "{events:#?} {more:#?}");
}

#[test]
fn changes_during_a_build_are_built_once_afterwards() {
    let (dev, builds) = (Dev::start(), listen());
    dev.write("build.rs", &hanging(&builds));
    dev.write("Cargo.toml", &format!("# It has a build script now.\n{MANIFEST}"));
    let first = accept(&builds);
    dev.write("src/main.rs", &version("two"));
    dev.write("src/main.rs", &version("three"));
    drop((first, builds));
    let mut events = dev.events_until(is("rebuilt"));
    events.extend(dev.events_until(is("rebuilt")));
    dev.send("first");
    events.extend(dev.events_until(|event| event["line"] == "three has it"));
    let builds = events.iter().filter(|event| said(event, "building")).count();
    assert_eq!(builds, 2, "{events:#?}");
}

#[test]
fn program_that_does_not_start_is_reported_and_the_next_one_built() {
    let dev = Dev::start();
    dev.write("src/main.rs", "fn main() {}");
    let failed = dev.until(is("rebuild_failed"));
    assert!(failed["error"].as_str().unwrap().starts_with("the function Place: "), "{failed}");
    dev.send("meanwhile");
    dev.until_log("one has it");
    dev.write("src/main.rs", &version("two"));
    dev.until(is("rebuilt"));
    dev.send("first");
    dev.until_log("two has it");
}

#[test]
fn hanging_function_ends_with_a_killed_command() {
    let (mut dev, waits) = (Dev::start(), listen());
    dev.send(&format!("wait at {}", waits.local_addr().unwrap()));
    let mut life = accept(&waits);
    dev.child.kill().unwrap();
    assert!(has_ended(&mut life), "the function still runs");
}

#[test]
fn interrupt_ends_a_rebuild_with_all_its_processes() {
    let (mut dev, lives) = (Dev::start(), listen());
    dev.send("first");
    dev.until_log("one has it");
    dev.write("build.rs", &hanging(&lives));
    dev.write("Cargo.toml", &format!("# It has a build script now.\n{MANIFEST}"));
    let mut life = accept(&lives);
    dev.interrupt();
    let status = dev.status();
    assert!(status.success(), "{status}");
    assert!(has_ended(&mut life), "the build script still runs");
}

#[test]
fn interrupt_ends_the_first_build() {
    let lives = listen();
    let mut dev = Dev::start_with(&[("build.rs", &hanging(&lives))]);
    let mut life = accept(&lives);
    dev.interrupt();
    assert_eq!(dev.status().code(), Some(2));
    assert!(has_ended(&mut life), "the build script still runs");
}
