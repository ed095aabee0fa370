//! Measures the batches again with everything pinned to one core.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use crate::function::Program;
use crate::report::{print_machine, print_p50};
use crate::{Effort, Handler, RECORDS, Row, round_trip};

/// Runs the pass without pinning it.
pub(crate) const FLAG: &str = "--one-core";

/// Runs this benchmark again, pinned to one core. Children inherit the pin.
pub(crate) fn run(args: &[String]) {
    let benchmark = env::current_exe().expect("this program has a path");
    let mut pinned = Command::new("taskset");
    pinned.arg("--cpu-list").arg(first_core()).arg(benchmark).args(args).arg(FLAG);
    match pinned.status() {
        Ok(status) => assert!(status.success(), "the pass on one core failed: {status}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("\nnot measured on one core: the command `taskset` is not installed");
        }
        Err(error) => panic!("cannot start `taskset`: {error}"),
    }
}

/// Returns the first core that this process may use. In a container that need not be core 0.
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.and_then(|list| list.trim().split([',', '-']).next()).unwrap_or("0").to_owned()
}

pub(crate) async fn measure(programs: &[Program], effort: &Effort) {
    print_machine();
    for (handler, does) in [(Handler::Noop, "does nothing"), (Handler::Work, "parses, checks and stores an order")] {
        let mut p50 = [Row::default(); RECORDS.len()];
        for ((row, records), batches) in p50.iter_mut().zip(RECORDS).zip(effort.batches) {
            *row = round_trip(programs, handler, records, batches, effort.processes).await;
        }
        print_p50(&format!("a handler that {does}"), &p50);
    }
}
