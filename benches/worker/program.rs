//! Installs and starts the consumers, and measures them from outside.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Peer;
use crate::consumer::{ROLE, Role};
use crate::queue::Queue;

/// The command that starts a consumer.
pub(crate) struct Program {
    pub(crate) peer: Peer,
    command: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

/// Returns redrive's consumer, and the others if they are asked for.
///
/// # Errors
///
/// Returns an error if a consumer cannot be installed.
pub(crate) fn install(with_peers: bool) -> Result<Vec<Program>, String> {
    let mut programs = vec![Program::redrive()];
    if !with_peers {
        return Ok(programs);
    }
    // The packages stay under `target`, because they are not part of this repository.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-worker");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/worker");
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;

    let python = install_boto3(&target, &sources)?;
    programs.push(Program::new(Peer::Python, [python.into(), sources.join("sqs_worker.py").into()], vec![]));
    let script = install_sqs_consumer(&target, &sources)?;
    for (peer, handler) in [(Peer::SqsConsumer, "message"), (Peer::SqsConsumerBatch, "batch")] {
        let command = ["node".into(), script.clone().into()];
        let environment = vec![("BENCH_HANDLER", handler), ("NODE_ENV", "production"), ("NODE_NO_WARNINGS", "1")];
        programs.push(Program::new(peer, command, environment));
    }
    Ok(programs)
}

/// Installs boto3, and returns the Python that runs the worker.
fn install_boto3(target: &Path, sources: &Path) -> Result<PathBuf, String> {
    let (venv, requirements) = (target.join("venv"), sources.join("requirements.txt"));
    let python = venv.join("bin/python");
    if !python.exists() {
        let need = "Python 3 with venv, for the worker on boto3; or leave the peers out with `--no-peers`";
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv), need)?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(install).arg(requirements), "access to PyPI, for boto3")?;
    Ok(python)
}

/// Installs `sqs-consumer`, and returns the path of the script that imports it.
fn install_sqs_consumer(target: &Path, sources: &Path) -> Result<PathBuf, String> {
    let copies = ["package.json", "package-lock.json", "sqs_consumer.mjs"];
    for name in copies {
        fs::copy(sources.join(name), target.join(name)).map_err(|error| format!("{name} is not copied: {error}"))?;
    }
    let need = "Node 20, npm and access to its registry, for sqs-consumer; or leave the peers out with `--no-peers`";
    run(Command::new("node").arg("--version"), need)?;
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(target), need)?;
    Ok(target.join("sqs_consumer.mjs"))
}

fn run(command: &mut Command, need: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` failed ({status}); this benchmark needs {need}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no `{name}` on the PATH; this benchmark needs {need}"))
        }
        Err(error) => Err(format!("`{name}` does not start: {error}")),
    }
}

/// Measures the upper bound for a handler that waits, in messages a second.
pub(crate) fn limit() -> f64 {
    let output = Program::this(Role::Limit).command().output().expect("this program");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a figure")
}

impl Program {
    fn new<const N: usize>(peer: Peer, command: [OsString; N], environment: Vec<(&'static str, &'static str)>) -> Self {
        Self { peer, command: command.into(), environment }
    }

    pub(crate) fn redrive() -> Self {
        Self::this(Role::Noop)
    }

    pub(crate) fn waiting() -> Self {
        Self::this(Role::Wait)
    }

    fn this(role: Role) -> Self {
        let program = env::current_exe().expect("this program");
        Self::new(Peer::Redrive, [program.into()], vec![(ROLE, role.name())])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).envs(self.environment.iter().copied());
        command
    }

    pub(crate) fn start(&self, queue: &Queue) -> Process {
        let mut command = self.command();
        command.env("REDRIVE_QUEUE_URL", &queue.url).env("AWS_ENDPOINT_URL_SQS", &queue.server);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        // Some SDKs read the first name, others the second.
        command.env("AWS_REGION", "us-east-1").env("AWS_DEFAULT_REGION", "us-east-1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program that was installed");
        Process { peer: self.peer, child }
    }
}

/// A running consumer. Dropping it ends the process.
pub(crate) struct Process {
    peer: Peer,
    child: Child,
}

/// The unit of `/proc`: 10 ms on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// Returns the CPU time of all its threads, including those that have ended.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        // The process name before the figures is in parentheses and may contain spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |field| fields.split_whitespace().nth(field)?.parse::<u32>().ok();
        let [user, system] = [11, 12].map(|field| ticks(field).expect("/proc tells a process's CPU time on Linux"));
        Duration::from_secs_f64(f64::from(user + system) / TICKS_PER_SECOND)
    }

    pub(crate) fn memory_mib(&self) -> f64 {
        let status = self.read("status");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<f64>().ok()).expect("/proc tells a process's memory on Linux") / 1024.0
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("this benchmark needs Linux's /proc")
    }

    /// # Panics
    ///
    /// Panics if the process has ended, because no consumer ends by itself.
    pub(crate) fn check(&mut self) {
        let ended = self.child.try_wait().expect("a process of ours");
        assert!(ended.is_none(), "{:?} ended: {ended:?}", self.peer);
    }

    /// Ends the process. Redrive's consumer reports how many calls it has made.
    pub(crate) fn stop(mut self) -> Option<f64> {
        if self.peer != Peer::Redrive {
            return None;
        }
        drop(self.child.stdin.take());
        let calls = io::read_to_string(self.child.stdout.take()?).expect("a line with a figure");
        Some(calls.trim().parse().expect("a figure"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
