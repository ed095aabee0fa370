//! Tests real processes on the real clock. Each test waits for events. Only tests of a timeout wait for time to pass.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive_local::function::{ErrorReport, Invocation};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FunctionError, Processes, Program};
use crate::function::Settings;
use crate::function::error::NeverPolled;
use crate::function::log::{LogLine, LogSink, Stream};
use crate::function::test_function::{self, INIT, invocation};

/// Shorter than the work of any process in a test, and long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(300);

/// Longer than any wait of a test.
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<LogLine>>>);

impl Log {
    fn sink(&self) -> LogSink {
        let lines = self.0.clone();
        Arc::new(move |line| lines.lock().unwrap().push(line))
    }

    fn find(&self, text: &str) -> Option<LogLine> {
        self.0.lock().unwrap().iter().find(|line| line.line == text).cloned()
    }
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Settings {
        name: "orders".to_owned(),
        region: "eu-west-1".to_owned(),
        memory_mb: 512,
        variables: variables.collect(),
        ..Settings::default()
    }
}

fn processes(concurrency: u32, variables: &[(&str, &str)], log: &Log) -> Processes {
    Processes::new(test_function::program(), settings(variables), concurrency, log.sink())
}

fn event(event: Value) -> Invocation {
    invocation(event.to_string())
}

async fn answer(processes: &Processes, invocation: Invocation) -> Value {
    serde_json::from_slice(&processes.call(&invocation).await.unwrap()).unwrap()
}

async fn checked(processes: &Processes) -> Result<(), FunctionError> {
    processes.ready_process().await.map(drop)
}

async fn pid(processes: &Processes) -> u64 {
    answer(processes, event(json!({"do": "answer"}))).await["pid"].as_u64().unwrap()
}

/// Detects running processes by their connections to this listener.
struct Lives(TcpListener);

impl Lives {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    async fn begun(&self) -> TcpStream {
        tokio::time::timeout(LONG, self.0.accept()).await.unwrap().unwrap().0
    }
}

async fn ended(mut life: TcpStream) {
    let read = tokio::time::timeout(LONG, life.read(&mut [0])).await.expect("a process is still running");
    assert!(matches!(read, Ok(0) | Err(_)), "the process sent data");
}

#[tokio::test]
async fn process_is_reused() {
    let processes = processes(4, &[("VARIABLE", "the template's")], &Log::default());
    let first = answer(&processes, event(json!({"do": "answer"}))).await;
    assert_eq!(first["variable"], "the template's");
    assert_eq!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn process_does_not_inherit_other_environment_variables() {
    // cargo sets this variable for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let answer = answer(&processes(1, &[], &Log::default()), event(json!({"do": "answer"}))).await;
    assert_eq!(answer["has_cargos"], false);
}

#[tokio::test]
async fn concurrent_invocations_have_a_process_each_up_to_the_limit() {
    let processes = processes(2, &[], &Log::default());
    let lives = Lives::listen().await;
    let hang = || async {
        let mut hang = event(json!({"do": "hang", "alive": lives.address()}));
        hang.timeout = LONG;
        processes.call(&hang).await
    };
    let observe = async {
        let (first, second) = (lives.begun().await, lives.begun().await);
        assert!(tokio::time::timeout(SHORT, lives.0.accept()).await.is_err(), "a third process runs");
        (first, second)
    };
    let observed = tokio::select! {
        observed = observe => observed,
        (one, two, three) = async { tokio::join!(hang(), hang(), hang()) } => panic!("{one:?} {two:?} {three:?}"),
    };
    // The processes were dropped with their invocations.
    ended(observed.0).await;
    ended(observed.1).await;
}

#[tokio::test]
async fn error_of_the_function_is_reported_and_its_process_is_reused() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let raised = processes.call(&event(json!({"do": "raise"}))).await;
    assert_eq!(raised, Err(FunctionError::Raised(ErrorReport::new("Database", "is away"))));
    assert_eq!(pid(&processes).await, before);
}

#[tokio::test]
async fn process_is_killed_with_its_children_at_the_timeout() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let (lives, heirs) = (Lives::listen().await, Lives::listen().await);
    let mut beget = event(json!({"do": "beget", "alive": lives.address(), "heir": heirs.address()}));
    beget.timeout = SHORT * 10;
    let (timed_out, life, heir) = tokio::join!(processes.call(&beget), lives.begun(), heirs.begun());
    assert_eq!(timed_out, Err(FunctionError::TimedOut { timeout: beget.timeout }));
    ended(life).await;
    if cfg!(unix) {
        ended(heir).await;
    }
    assert_ne!(pid(&processes).await, before);
}

#[tokio::test]
async fn crash_fails_the_invocation_and_the_next_one_runs_in_a_new_process() {
    let log = Log::default();
    let processes = processes(1, &[], &log);
    let before = pid(&processes).await;
    let crashed = processes.call(&event(json!({"do": "exit", "complain": "last words"}))).await;
    match crashed {
        Err(FunctionError::Crashed { status }) => assert!(status.contains('7'), "{status}"),
        other => panic!("{other:?}"),
    }
    assert!(log.find("last words").is_some(), "the error came before the end of the log");
    assert_ne!(pid(&processes).await, before);
}

#[tokio::test]
async fn exit_between_invocations_fails_no_invocation() {
    let processes = processes(1, &[], &Log::default());
    let first = answer(&processes, event(json!({"do": "answer and exit"}))).await;
    assert_ne!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn exit_of_an_idle_process_fails_no_invocation_and_its_log_is_read() {
    let log = Log::default();
    let (processes, lives) = (processes(1, &[], &log), Lives::listen().await);
    let exit = event(json!({"do": "answer and exit when told", "alive": lives.address()}));
    let (first, mut life) = tokio::join!(answer(&processes, exit), lives.begun());
    life.write_all(b"!").await.unwrap();
    while !processes.pool().idle[0].has_exited() {
        tokio::task::yield_now().await;
    }
    assert_ne!(pid(&processes).await, first["pid"].as_u64().unwrap());
    assert!(log.find("gone").is_some());
}

#[tokio::test]
async fn answer_of_a_process_that_stops_polling_counts_and_the_process_is_replaced() {
    let processes = processes(1, &[], &Log::default());
    let mut hang = event(json!({"do": "answer and hang"}));
    hang.timeout = SHORT;
    let first = answer(&processes, hang).await;
    assert_ne!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn exit_before_the_first_poll_is_reported() {
    let log = Log::default();
    let processes = processes(1, &[(INIT, "exit")], &log);
    match processes.ready_process().await.map(drop) {
        Err(FunctionError::NeverPolled(NeverPolled::Exited { status })) => assert!(status.contains('3'), "{status}"),
        other => panic!("{other:?}"),
    }
    let line = log.find("no configuration").expect("the error came before the end of the log");
    assert_eq!((line.request_id, line.stream), (None, Stream::Stderr));
}

#[tokio::test]
async fn process_that_never_polls_is_reported_after_the_limit() {
    let lives = Lives::listen().await;
    let variables = [(INIT, "hang"), ("REDRIVE_TEST_ALIVE", &lives.address())];
    let processes = processes(1, &variables, &Log::default()).with_init_limit(SHORT * 10);
    let (checked, life) = tokio::join!(checked(&processes), lives.begun());
    assert_eq!(checked, Err(FunctionError::NeverPolled(NeverPolled::Within(SHORT * 10))));
    ended(life).await;
}

#[tokio::test]
async fn start_failure_that_the_function_reports_is_returned() {
    let processes = processes(1, &[(INIT, "fail")], &Log::default());
    let failed = Err(FunctionError::InitFailed(ErrorReport::new("Config", "is missing")));
    assert_eq!(processes.call(&event(json!({"do": "answer"}))).await.map(drop), failed);
    assert_eq!(processes.ready_process().await.map(drop), failed);
}

#[tokio::test]
async fn missing_executable_is_named() {
    let program = Program::new("/no/such/function");
    let processes = Processes::new(program, settings(&[]), 1, Log::default().sink());
    match processes.ready_process().await.map(drop) {
        Err(FunctionError::NotStarted { executable, .. }) => assert_eq!(executable, PathBuf::from("/no/such/function")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn log_line_belongs_to_the_invocation_that_printed_it() {
    let log = Log::default();
    let processes = processes(1, &[], &log);
    for id in ["one", "two"] {
        let mut invocation = event(json!({
            "do": "answer", "print": format!("out {id}"), "complain": format!("err {id}")
        }));
        invocation.request_id = id.to_owned();
        processes.call(&invocation).await.unwrap();
        // Output and answer arrive on different channels, so their order is not known.
        while log.find(&format!("out {id}")).is_none() || log.find(&format!("err {id}")).is_none() {
            tokio::task::yield_now().await;
        }
    }
    let line = |line: &str| log.find(line).map(|line| (line.request_id.unwrap(), line.stream));
    assert_eq!(line("out one"), Some(("one".to_owned(), Stream::Stdout)));
    assert_eq!(line("err one"), Some(("one".to_owned(), Stream::Stderr)));
    assert_eq!(line("out two"), Some(("two".to_owned(), Stream::Stdout)));
}

#[tokio::test]
async fn new_program_takes_over_and_running_invocations_finish_on_the_old_one() {
    let log = Log::default();
    let processes = processes(2, &[], &log);
    let lives = Lives::listen().await;
    let idle = pid(&processes).await;
    let old = event(json!({"do": "answer when told", "alive": lives.address()}));
    let (running, (life, new)) = tokio::join!(answer(&processes, old), async {
        let mut life = lives.begun().await;
        processes.replace(Program { directory: Some(std::env::temp_dir()), ..test_function::program() }).await.unwrap();
        let new = pid(&processes).await;
        life.write_all(b"!").await.unwrap();
        (life, new)
    });
    assert_eq!(running["pid"], idle, "the invocation did not finish on its own process");
    assert_ne!(new, idle);
    ended(life).await;
    assert_eq!(pid(&processes).await, new);
}

#[tokio::test]
async fn new_program_that_fails_to_start_does_not_take_over() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let replaced = processes.replace(Program::new("/no/such/function")).await;
    assert!(matches!(replaced, Err(FunctionError::NotStarted { .. })), "{replaced:?}");
    assert_eq!(pid(&processes).await, before);
}

#[tokio::test]
async fn ready_process_of_an_old_program_does_not_run_an_invocation_of_a_new_one() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let mut ready = Some(processes.ready_process().await.unwrap());
    processes.replace(test_function::program()).await.unwrap();
    let answer = processes.invoke(&mut ready, &event(json!({"do": "answer"}))).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_ne!(answer["pid"], before);
}

#[tokio::test]
async fn idle_process_of_an_old_program_is_not_used_for_a_new_one() {
    let lives = Lives::listen().await;
    let processes = processes(1, &[("REDRIVE_TEST_ALIVE", &lives.address())], &Log::default());
    let (old, life) = tokio::join!(pid(&processes), lives.begun());
    processes.replace(test_function::program()).await.unwrap();
    ended(life).await;
    assert_ne!(pid(&processes).await, old);
}

#[tokio::test]
async fn shutdown_waits_for_running_invocations_and_leaves_no_process() {
    let (lives, idle) = (Lives::listen().await, Lives::listen().await);
    let function = Arc::new(processes(2, &[("REDRIVE_TEST_ALIVE", &idle.address())], &Log::default()));
    let slow = event(json!({"do": "answer when told", "alive": lives.address()}));
    let (answered, life) = tokio::join!(function.call(&slow), async {
        let mut life = lives.begun().await;
        tokio::join!(function.shut_down(LONG), async { life.write_all(b"!").await.unwrap() });
        life
    });
    assert!(answered.is_ok(), "{answered:?}");
    ended(life).await;
    ended(idle.begun().await).await;
    assert_eq!(function.call(&event(json!({"do": "answer"}))).await, Err(FunctionError::ShutDown));
    assert_eq!(function.check().await, Err(FunctionError::ShutDown));
}

#[tokio::test]
async fn shutdown_cancels_running_invocations_at_the_drain_limit() {
    let lives = Lives::listen().await;
    let processes = processes(1, &[], &Log::default());
    let mut hang = event(json!({"do": "hang", "alive": lives.address()}));
    hang.timeout = LONG;
    let waiting = event(json!({"do": "answer"}));
    let (cut_short, never_began, life) = tokio::join!(processes.call(&hang), processes.call(&waiting), async {
        let life = lives.begun().await;
        processes.shut_down(SHORT).await;
        life
    });
    assert_eq!(cut_short, Err(FunctionError::ShutDown));
    assert_eq!(never_began, Err(FunctionError::ShutDown));
    ended(life).await;
}

#[tokio::test]
async fn idle_process_ends_when_its_owner_is_dropped() {
    let lives = Lives::listen().await;
    let function = Arc::new(processes(1, &[("REDRIVE_TEST_ALIVE", &lives.address())], &Log::default()));
    let (checked, life) = tokio::join!(function.check(), lives.begun());
    checked.unwrap();
    drop(function);
    ended(life).await;
}

#[tokio::test]
async fn redrive_consumer_runs_in_a_process() {
    const EVENT: &str = r#"{"Records": [
        {"messageId": "1", "body": "good", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"},
        {"messageId": "2", "body": "bad", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"}
    ]}"#;
    let processes = processes(1, &[(INIT, "consume")], &Log::default());
    let answer = answer(&processes, invocation(EVENT)).await;
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
}
