//! Real processes, on the real clock: each test ends when something happens, and no test waits for time to pass, but for
//! a timeout that is what it tests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FunctionError, Invocation, Processes, Program};
use crate::function::test_function::{self, INIT, invocation};
use crate::function::{Function, LogLine, LogSink, NeverPolled, Report, Settings, Stream};

/// Shorter than anything that a test has a process do, and long enough for a machine that is busy.
const SHORT: Duration = Duration::from_millis(300);

/// Longer than all that a test waits for.
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
    processes.ready().await.map(drop)
}

async fn pid(processes: &Processes) -> u64 {
    answer(processes, event(json!({"do": "answer"}))).await["pid"].as_u64().unwrap()
}

/// Sees whether processes live that hold a connection to it.
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
    let read = tokio::time::timeout(LONG, life.read(&mut [0])).await.expect("a process was left");
    assert!(matches!(read, Ok(0) | Err(_)), "it still says something");
}

#[tokio::test]
async fn a_process_is_used_again() {
    let processes = processes(4, &[("VARIABLE", "the template's")], &Log::default());
    let first = answer(&processes, event(json!({"do": "answer"}))).await;
    assert_eq!(first["variable"], "the template's");
    assert_eq!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn a_process_sees_nothing_of_this_ones_environment_that_it_is_not_to_see() {
    // cargo sets it for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let answer = answer(&processes(1, &[], &Log::default()), event(json!({"do": "answer"}))).await;
    assert_eq!(answer["has_cargos"], false);
}

#[tokio::test]
async fn invocations_at_a_time_have_a_process_each_up_to_the_bound() {
    let processes = processes(2, &[], &Log::default());
    let lives = Lives::listen().await;
    let hang = || async {
        let mut hang = event(json!({"do": "hang", "alive": lives.address()}));
        hang.timeout = LONG;
        processes.call(&hang).await
    };
    let observe = async {
        let (first, second) = (lives.begun().await, lives.begun().await);
        assert!(tokio::time::timeout(SHORT, lives.0.accept()).await.is_err(), "a third runs");
        (first, second)
    };
    let observed = tokio::select! {
        observed = observe => observed,
        (one, two, three) = async { tokio::join!(hang(), hang(), hang()) } => panic!("{one:?} {two:?} {three:?}"),
    };
    // Dropped with their invocations.
    ended(observed.0).await;
    ended(observed.1).await;
}

#[tokio::test]
async fn an_error_of_the_functions_own_comes_in_its_words_and_costs_no_process() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let raised = processes.call(&event(json!({"do": "raise"}))).await;
    assert_eq!(raised, Err(FunctionError::Raised(Report::new("Database", "is away"))));
    assert_eq!(pid(&processes).await, before);
}

#[tokio::test]
async fn a_process_that_times_out_is_killed_with_what_it_started() {
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
async fn a_crash_costs_the_invocation_and_the_next_has_a_new_process() {
    let log = Log::default();
    let processes = processes(1, &[], &log);
    let before = pid(&processes).await;
    let crashed = processes.call(&event(json!({"do": "exit", "complain": "last words"}))).await;
    match crashed {
        Err(FunctionError::Crashed { status }) => assert!(status.contains('7'), "{status}"),
        other => panic!("{other:?}"),
    }
    assert!(log.find("last words").is_some(), "the log is whole when the error is told");
    assert_ne!(pid(&processes).await, before);
}

#[tokio::test]
async fn a_process_that_ends_between_invocations_costs_none() {
    let processes = processes(1, &[], &Log::default());
    let first = answer(&processes, event(json!({"do": "answer and exit"}))).await;
    assert_ne!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn a_process_that_ends_while_it_waits_costs_none_and_has_its_log_read() {
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
async fn a_process_that_polls_no_more_has_its_answer_taken_and_is_replaced() {
    let processes = processes(1, &[], &Log::default());
    let mut hang = event(json!({"do": "answer and hang"}));
    hang.timeout = SHORT;
    let first = answer(&processes, hang).await;
    assert_ne!(pid(&processes).await, first["pid"].as_u64().unwrap());
}

#[tokio::test]
async fn a_process_that_exits_before_it_polls_says_so() {
    let log = Log::default();
    let processes = processes(1, &[(INIT, "exit")], &log);
    match processes.ready().await.map(drop) {
        Err(FunctionError::NeverPolled(NeverPolled::Exited { status })) => assert!(status.contains('3'), "{status}"),
        other => panic!("{other:?}"),
    }
    let line = log.find("no configuration").expect("the log is whole when the error is told");
    assert_eq!((line.request_id, line.stream), (None, Stream::Stderr));
}

#[tokio::test]
async fn a_process_that_does_not_poll_is_not_waited_for_for_ever() {
    let lives = Lives::listen().await;
    let variables = [(INIT, "hang"), ("REDRIVE_TEST_ALIVE", &lives.address())];
    let processes = processes(1, &variables, &Log::default()).with_init_limit(SHORT * 10);
    let (checked, life) = tokio::join!(checked(&processes), lives.begun());
    assert_eq!(checked, Err(FunctionError::NeverPolled(NeverPolled::Within(SHORT * 10))));
    ended(life).await;
}

#[tokio::test]
async fn a_function_that_reports_why_it_fails_to_start_is_quoted() {
    let processes = processes(1, &[(INIT, "fail")], &Log::default());
    let failed = Err(FunctionError::InitFailed(Report::new("Config", "is missing")));
    assert_eq!(processes.call(&event(json!({"do": "answer"}))).await.map(drop), failed);
    assert_eq!(processes.ready().await.map(drop), failed);
}

#[tokio::test]
async fn an_executable_that_is_none_is_named() {
    let program = Program::new("/no/such/function");
    let processes = Processes::new(program, settings(&[]), 1, Log::default().sink());
    match processes.ready().await.map(drop) {
        Err(FunctionError::NotStarted { executable, .. }) => assert_eq!(executable, PathBuf::from("/no/such/function")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_line_of_the_log_belongs_to_the_invocation_that_printed_it() {
    let log = Log::default();
    let processes = processes(1, &[], &log);
    for id in ["one", "two"] {
        let mut invocation = event(json!({
            "do": "answer", "print": format!("out {id}"), "complain": format!("err {id}")
        }));
        invocation.request_id = id.to_owned();
        processes.call(&invocation).await.unwrap();
        // What it prints comes another way than its answer.
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
async fn a_new_program_takes_over_and_what_runs_comes_to_its_end_on_the_old() {
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
    assert_eq!(running["pid"], idle, "it ran on the process that was there, and to its end");
    assert_ne!(new, idle);
    ended(life).await;
    assert_eq!(pid(&processes).await, new);
}

#[tokio::test]
async fn a_new_program_that_does_not_start_does_not_take_over() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let replaced = processes.replace(Program::new("/no/such/function")).await;
    assert!(matches!(replaced, Err(FunctionError::NotStarted { .. })), "{replaced:?}");
    assert_eq!(pid(&processes).await, before);
}

#[tokio::test]
async fn a_process_that_is_ready_for_an_old_program_does_not_run_a_new_ones_invocation() {
    let processes = processes(1, &[], &Log::default());
    let before = pid(&processes).await;
    let mut ready = Some(processes.ready().await.unwrap());
    processes.replace(test_function::program()).await.unwrap();
    let answer = processes.invoke(&mut ready, &event(json!({"do": "answer"}))).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_ne!(answer["pid"], before);
}

#[tokio::test]
async fn an_old_process_that_waits_is_not_used_for_a_new_program() {
    let lives = Lives::listen().await;
    let processes = processes(1, &[("REDRIVE_TEST_ALIVE", &lives.address())], &Log::default());
    let (old, life) = tokio::join!(pid(&processes), lives.begun());
    processes.replace(test_function::program()).await.unwrap();
    ended(life).await;
    assert_ne!(pid(&processes).await, old);
}

#[tokio::test]
async fn shutting_down_waits_for_what_runs_and_leaves_no_process() {
    let (lives, idle) = (Lives::listen().await, Lives::listen().await);
    let function = Function::from(processes(2, &[("REDRIVE_TEST_ALIVE", &idle.address())], &Log::default()));
    let slow = event(json!({"do": "answer when told", "alive": lives.address()}));
    let (answered, life) = tokio::join!(function.call(slow), async {
        let mut life = lives.begun().await;
        tokio::join!(function.shut_down(LONG), async { life.write_all(b"!").await.unwrap() });
        life
    });
    assert!(answered.is_ok(), "{answered:?}");
    ended(life).await;
    ended(idle.begun().await).await;
    assert_eq!(function.call(event(json!({"do": "answer"}))).await, Err(FunctionError::ShutDown));
    assert_eq!(function.check().await, Err(FunctionError::ShutDown));
}

#[tokio::test]
async fn shutting_down_cuts_short_what_runs_beyond_the_drain_limit() {
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
async fn an_idle_process_ends_when_its_owner_is_dropped() {
    let lives = Lives::listen().await;
    let function = Function::from(processes(1, &[("REDRIVE_TEST_ALIVE", &lives.address())], &Log::default()));
    let (checked, life) = tokio::join!(function.check(), lives.begun());
    checked.unwrap();
    drop(function);
    ended(life).await;
}

#[tokio::test]
async fn a_consumer_of_redrives_own_runs_in_a_process() {
    const EVENT: &str = r#"{"Records": [
        {"messageId": "1", "body": "good", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"},
        {"messageId": "2", "body": "bad", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"}
    ]}"#;
    let processes = processes(1, &[(INIT, "consume")], &Log::default());
    let answer = answer(&processes, invocation(EVENT)).await;
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
}
