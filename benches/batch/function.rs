//! Builds and starts the functions, sends them events and measures them from outside.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::runtime_api::{Kind, RuntimeApi};
use crate::{Handler, Peer};

/// Longer than any batch takes, so that no function gives up on one.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);

const MIB: f64 = 1_048_576.0;

/// Builds the executables, each by its own command. If they were built together, they would share the features of their
/// dependencies and differ from real programs.
pub(crate) fn build() -> [Program; Peer::ALL.len()] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = root.join("benches/peers");
    assert_eq!(
        release_profile(root),
        release_profile(&workspace),
        "the peers need the same release profile as redrive"
    );
    Peer::ALL.map(|peer| {
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--target-dir", "target", "--package", peer.package()])
            .current_dir(&workspace)
            .status()
            .expect("cargo starts");
        assert!(status.success(), "cargo failed to build {}: {status}", peer.package());
        Program { peer, path: workspace.join("target/release").join(peer.package()) }
    })
}

/// Returns the settings of `[profile.release]` as the manifest writes them.
fn release_profile(package: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("a package has a manifest");
    let section = manifest.lines().skip_while(|line| *line != "[profile.release]").skip(1);
    section.take_while(|line| !line.starts_with('[')).filter(|line| line.contains(" = ")).map(str::to_owned).collect()
}

impl Peer {
    fn package(self) -> &'static str {
        match self {
            Self::Redrive => "redrive-peer",
            Self::AwsExample => "aws-example",
            Self::ByHand => "by-hand",
            Self::Floor => "floor",
        }
    }
}

impl Handler {
    fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Work => "work",
            Self::Wait => "wait",
        }
    }
}

/// An executable.
pub(crate) struct Program {
    peer: Peer,
    path: PathBuf,
}

impl Program {
    pub(crate) fn size_mib(&self) -> f64 {
        fs::metadata(&self.path).expect("a program that was built").len() as f64 / MIB
    }
}

/// A running process that waits for an event.
pub(crate) struct Function {
    peer: Peer,
    process: Child,
    api: RuntimeApi,
    /// The time from the start of the process to its first poll.
    pub(crate) start_up: Duration,
}

impl Function {
    pub(crate) async fn start(program: &Program, handler: Handler) -> Self {
        let api = RuntimeApi::start();
        let mut command = api.command(&program.path);
        command.env("BENCH_HANDLER", handler.name()).stdout(Stdio::null());
        let start = Instant::now();
        let mut process = command.spawn().expect("a program that was built");
        tokio::select! {
            () = api.polled() => {}
            end = process.wait() => panic!("{:?} ended before its first poll: {end:?}", program.peer),
        }
        Self { peer: program.peer, process, api, start_up: start.elapsed() }
    }

    /// Returns how long a batch took. It also waits for the work after the answer, so that this does not count for the
    /// next batch.
    ///
    /// # Panics
    ///
    /// Panics if the answer reports a failure, because a function must not win by doing less.
    pub(crate) async fn invoke(&mut self, event: &Bytes) -> Duration {
        let answer = tokio::select! {
            answer = self.api.invoke(event.clone(), FUNCTION_TIMEOUT) => answer,
            end = self.process.wait() => panic!("{:?} ended: {end:?}", self.peer),
        };
        let body: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        assert_eq!((answer.kind, &body["batchItemFailures"]), (Kind::Response, &json!([])), "{:?}: {body}", self.peer);
        self.api.polled().await;
        answer.took
    }

    /// Returns the peak memory of the process, or NaN on a system without `/proc`.
    pub(crate) fn peak_memory_mib(&self) -> f64 {
        let id = self.process.id().expect("a process that runs");
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.map_or(f64::NAN, |kib| kib.parse::<f64>().expect("a number of kB") * 1024.0 / MIB)
    }

    pub(crate) async fn stop(mut self) {
        self.process.kill().await.expect("a process of ours");
    }
}
