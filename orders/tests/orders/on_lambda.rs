//! Tests built functions with the real lambda_runtime and a Runtime API of the tests.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::records::record;
use crate::runtime_api::{Answer, Deadline, Kind, RuntimeApi};

const ORDERS: &str = env!("CARGO_BIN_EXE_orders");
const MINUTE: Duration = Duration::from_secs(60);

fn good_order() -> String {
    let items = json!([{ "sku": "A-1", "quantity": 2, "unit_price_cents": 250 }]);
    json!({ "order_id": "o-1", "customer": "c-1", "currency": "EUR", "items": items }).to_string()
}

fn panicking_order() -> String {
    good_order().replace("A-1", "PANIC")
}

fn batch(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

fn failures(ids: &[&str]) -> Value {
    let failures: Vec<Value> = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": failures })
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("an answer is JSON")
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Ends the function and returns its log.
async fn log_of(mut function: Child) -> String {
    // The function may have exited already.
    let _ = function.start_kill();
    let Output { stdout, stderr, .. } = function.wait_with_output().await.unwrap();
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

#[tokio::test]
async fn every_sample_event_has_its_expected_answer() {
    let api = RuntimeApi::start();
    let _function = spawn(&mut api.command(ORDERS));
    let events = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut invoked = 0;
    for entry in std::fs::read_dir(&events).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_name().unwrap().to_owned();
        let expected = std::fs::read(events.join("expected").join(&name)).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let answer = api.invoke(std::fs::read(&path).unwrap(), MINUTE).await;
        match expected.get("error") {
            Some(_) => assert_eq!(answer.kind, Kind::Error, "{name:?}"),
            None => assert_eq!((answer.kind, json_of(&answer)), (Kind::Response, expected), "{name:?}"),
        }
        invoked += 1;
    }
    assert!(invoked > 10, "only {invoked} events");
}

/// Lambda freezes a process after its answer, so a buffered line may never be written.
#[tokio::test]
async fn every_line_of_a_batch_is_written_before_its_answer() {
    const ORDERS_OF_A_BATCH: usize = 10;
    let api = RuntimeApi::start();
    let mut function = spawn(&mut api.command(ORDERS));
    let records: Vec<_> = (0..ORDERS_OF_A_BATCH).map(|number| record(&format!("m-{number}"), &good_order())).collect();
    let answer = api.invoke(batch(&records), MINUTE).await;
    // Kills the process at once, so that it cannot write anything after its answer.
    function.start_kill().unwrap();
    assert_eq!(answer.kind, Kind::Response);
    let log = log_of(function).await;
    assert_eq!(log.lines().filter(|line| line.contains("order placed")).count(), ORDERS_OF_A_BATCH, "{log}");
}

#[tokio::test]
async fn deadline_of_cargo_lambda_watch_is_ignored() {
    let api = RuntimeApi::start();
    let _function = spawn(&mut api.command(ORDERS));
    let answer = api.invoke(batch(&[record("1", &good_order())]), Deadline::At(600_000)).await;
    assert_eq!(json_of(&answer), failures(&[]));
}

#[tokio::test]
async fn panic_is_logged_as_json_with_its_place() {
    let api = RuntimeApi::start();
    let function = spawn(&mut api.command(ORDERS));
    let answer = api.invoke(batch(&[record("1", &good_order()), record("2", &panicking_order())]), MINUTE).await;
    assert_eq!(json_of(&answer), failures(&["2"]));
    api.polled().await;
    let log = log_of(function).await;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // The earlier panic hook still runs.
    assert!(log.lines().any(|line| line.starts_with("thread '")), "{log}");
    let error = lines.iter().find(|line| line["level"] == "ERROR").expect("an error event");
    let text = error["fields"]["error"].as_str().unwrap();
    assert!(text.contains("orders/src/main.rs:") && text.contains("the warehouse client has a bug"), "{text}");
    assert_eq!(error["span"]["message_id"], "2");
}

#[tokio::test]
async fn event_of_pipes_is_answered_like_an_event_of_a_mapping() {
    let api = RuntimeApi::start();
    let _function = spawn(&mut api.command(ORDERS));
    let odd = json!([record("1", &good_order()), record("2", "not json"), 7, null, [], record("3", &good_order())]);
    let answer = api.invoke(odd.to_string(), MINUTE).await;
    // A value that is not a record has no id, so an answer cannot name it.
    assert_eq!(answer.kind, Kind::Error);
    let list = json!([record("1", &good_order()), record("2", "not json"), record("3", &good_order())]);
    let answer = api.invoke(list.to_string(), MINUTE).await;
    assert_eq!((answer.kind, json_of(&answer)), (Kind::Response, failures(&["2"])));
    let answer = api.invoke("[]", MINUTE).await;
    assert_eq!((answer.kind, json_of(&answer)), (Kind::Response, failures(&[])));
    let answer = api.invoke("[{]", MINUTE).await;
    assert!(json_of(&answer)["errorMessage"].as_str().unwrap().contains("not JSON"));
}

#[tokio::test]
async fn error_of_the_invocation_has_a_reason() {
    let api = RuntimeApi::start();
    let _function = spawn(&mut api.command(ORDERS));
    let answer = api.invoke("{}", MINUTE).await;
    assert_eq!(answer.kind, Kind::Error);
    let error = json_of(&answer);
    assert_eq!(error["errorType"], "redrive::Error");
    assert!(error["errorMessage"].as_str().unwrap().contains("no `Records`"), "{error}");
    let answer = api.invoke(r#"{"Records": [{]}"#, MINUTE).await;
    let error = json_of(&answer);
    assert!(error["errorMessage"].as_str().unwrap().contains("not JSON: key must be a string at line 1"), "{error}");
    // The function continues.
    let answer = api.invoke(batch(&[record("1", "no order")]), MINUTE).await;
    assert_eq!(json_of(&answer), failures(&["1"]));
}

#[tokio::test]
async fn invalid_concurrency_is_replaced_by_the_default_with_a_warning() {
    let api = RuntimeApi::start();
    let function = spawn(api.command(ORDERS).env("REDRIVE_CONCURRENCY", "lots"));
    let answer = api.invoke(batch(&[record("1", &good_order())]), MINUTE).await;
    assert_eq!(json_of(&answer), failures(&[]));
    let log = log_of(function).await;
    assert!(log.contains("REDRIVE_CONCURRENCY") && log.contains("using 64"), "{log}");
}

#[tokio::test]
async fn missing_host_is_an_error_with_a_remedy() {
    let output = Command::new(ORDERS).env_remove("AWS_LAMBDA_RUNTIME_API").output().await.unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("AWS_LAMBDA_RUNTIME_API") && error.contains("cargo lambda watch"), "{error}");
    assert!(!error.contains("panicked") && !error.contains("Kind"), "{error}");
}

#[tokio::test]
async fn missing_host_is_an_error_of_the_environment() {
    async fn nothing() {}
    let error = redrive::run(nothing).await.unwrap_err();
    assert!(error.is_environment() && !error.is_host());
}

#[tokio::test]
async fn missing_variable_is_named() {
    let api = RuntimeApi::start();
    let output = api.command(ORDERS).env_remove("AWS_LAMBDA_FUNCTION_VERSION").output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("AWS_LAMBDA_FUNCTION_VERSION") && !error.contains("panicked"), "{error}");
    let output = api.command(ORDERS).env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much").output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") && !error.contains("panicked"), "{error}");
}

#[tokio::test]
async fn lost_runtime_api_ends_the_process_with_an_error() {
    let api = RuntimeApi::start();
    let function = spawn(&mut api.command(ORDERS));
    api.polled().await;
    drop(api);
    let output = tokio::time::timeout(MINUTE, function.wait_with_output()).await.expect("the process ends").unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("the host stopped"), "{error}");
}

/// A panic in the host or in lambda_runtime ends `run` with an error for `main`. No thread ends unnoticed.
#[tokio::test]
async fn panic_of_the_host_ends_the_process_with_an_error() {
    let api = RuntimeApi::start();
    let output = api.command(ORDERS).env("AWS_LAMBDA_RUNTIME_API", "::not a uri::").output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    let panic = log.lines().find_map(|line| line.strip_prefix("Error: the host stopped: its thread panicked: "));
    let panic = panic.unwrap_or_else(|| panic!("{log}"));
    // The text is lambda_runtime's, and the panic hook has printed it as well.
    assert!(!panic.is_empty() && log.matches(panic).count() == 2, "{log}");
}

/// Runs one of the programs below: this test binary, started again as a function.
fn program(api: &RuntimeApi, name: &str) -> Command {
    let mut command = api.command(std::env::current_exe().unwrap());
    command.args(["--exact", "on_lambda::programs", "--nocapture"]).env(PROGRAM, name);
    command
}

const PROGRAM: &str = "REDRIVE_TEST_PROGRAM";

/// Runs the program that the environment selects. Without a selection it does nothing, because it is not a test.
#[test]
fn programs() {
    match std::env::var(PROGRAM).as_deref() {
        Ok("blocks") => run(2, redrive::handler(blocks)),
        Ok("meets") => run(2, redrive::handler(meets).with_state(std::sync::Arc::new(tokio::sync::Barrier::new(2)))),
        Ok("hogs") => run(2, redrive::handler(hogs)),
        Ok("single") => run(1, redrive::handler(blocks)),
        Ok("gives up") => runtime(2).block_on(gives_up()),
        Ok(other) => panic!("unknown program {other}"),
        Err(_) => {}
    }
}

fn run<K: redrive::HandlerKind>(threads: usize, consumer: redrive::Consumer<K>) {
    runtime(threads).block_on(consumer.run()).unwrap();
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.worker_threads(threads).enable_all().build().unwrap()
}

/// Blocks its thread for the number of milliseconds in the body.
async fn blocks(redrive::Json(milliseconds): redrive::Json<u64>) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Blocks its thread and holds the lock that every log line needs.
async fn hogs(redrive::Json(milliseconds): redrive::Json<u64>) {
    let _held = std::io::stdout().lock();
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Finishes once a second record has started.
async fn meets(redrive::State(barrier): redrive::State<std::sync::Arc<tokio::sync::Barrier>>) {
    barrier.wait().await;
}

/// Drops the future of `run` when standard input ends, and finishes when the host has dropped the handler's state.
async fn gives_up() {
    let (held, mut released) = tokio::sync::mpsc::channel::<()>(1);
    let consumer = redrive::handler(|_: redrive::State<tokio::sync::mpsc::Sender<()>>| async {}).with_state(held);
    tokio::select! {
        end = consumer.run() => panic!("the host ended on its own: {end:?}"),
        _ = async { tokio::io::stdin().read_u8().await } => {}
    }
    assert!(released.recv().await.is_none());
}

/// A poll that outlived `run` would take batches away from other pollers.
#[tokio::test]
async fn polling_stops_when_the_future_of_run_is_dropped() {
    let api = RuntimeApi::start();
    let mut function = spawn(program(&api, "gives up").stdin(Stdio::piped()));
    api.polled().await;
    drop(function.stdin.take());
    let output = tokio::time::timeout(MINUTE, function.wait_with_output()).await.expect("the host stops").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All threads of the handlers' runtime are blocked beyond the deadline, but the answer has to leave before it. The
/// process then exits, because it could not run another batch, and Lambda starts a new one.
#[tokio::test]
async fn answer_is_sent_in_time_when_handlers_block_every_thread() {
    for name in ["blocks", "single", "hogs"] {
        let api = RuntimeApi::start();
        let mut function = spawn(&mut program(&api, name));
        let records = ["1", "2", "3"].map(|id| record(id, "20000"));
        let answer = api.invoke(batch(&records), Duration::from_secs(3)).await;
        assert_eq!(json_of(&answer), failures(&["1", "2", "3"]), "{name}");
        assert!(answer.took < Duration::from_secs(3), "{name} took {:?}", answer.took);

        let end = tokio::time::timeout(Duration::from_secs(5), function.wait()).await;
        assert_eq!(end.expect("the process ends").unwrap().code(), Some(1), "{name}");
        let log = log_of(function).await;
        assert_eq!(log.contains("block every thread"), name != "hogs", "{name}: {log}");
    }
}

/// Late handlers that finish do not end the process.
#[tokio::test]
async fn thread_that_is_free_again_takes_the_next_batch() {
    let api = RuntimeApi::start();
    let _function = spawn(&mut program(&api, "single"));
    let answer = api.invoke(batch(&[record("1", "2000")]), Duration::from_millis(1_500)).await;
    assert_eq!(json_of(&answer), failures(&["1"]));
    for _ in 0..2 {
        let answer = api.invoke(batch(&[record("2", "1")]), Duration::from_secs(5)).await;
        assert_eq!(json_of(&answer), failures(&[]));
    }
}

/// The two invocations can only finish together, so both must run in the process at the same time.
#[tokio::test]
async fn invocations_run_concurrently_when_lambda_allows_it() {
    let api = RuntimeApi::start();
    let _function = spawn(program(&api, "meets").env("AWS_LAMBDA_MAX_CONCURRENCY", "2"));
    let event = batch(&[record("1", "")]);
    let (first, second) = tokio::join!(api.invoke(event.clone(), MINUTE), api.invoke(event.clone(), MINUTE));
    assert_eq!((json_of(&first), json_of(&second)), (failures(&[]), failures(&[])));
}
