//! A process that runs a function.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::log::{CurrentRequest, LogSink, Stream, read_lines};
use super::process_group::ProcessGroup;

/// How long the rest of its log is waited for when a process has ended. Its pipes close with it, unless a process that
/// left its group holds them.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// How long a process that was killed may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// A process that runs a function. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    group: ProcessGroup,
    /// One that reads each pipe; they end with the pipes, or with this.
    readers: JoinSet<()>,
    request: CurrentRequest,
}

impl Process {
    pub(super) fn start(mut command: Command, sink: &LogSink) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let group = ProcessGroup::of(&child).guarded();
        let (mut readers, request) = (JoinSet::new(), CurrentRequest::default());
        if let Some(pipe) = child.stdout.take() {
            readers.spawn(read_lines(pipe, Stream::Stdout, request.clone(), sink.clone()));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.spawn(read_lines(pipe, Stream::Stderr, request.clone(), sink.clone()));
        }
        Ok(Self { child, group, readers, request })
    }

    /// From here on what it prints belongs to this invocation.
    pub(super) fn begin(&self, request_id: &str) {
        self.request.begin(request_id);
    }

    pub(super) fn has_exited(&mut self) -> bool {
        // Where that cannot be told it is no process to rely on.
        let exited = !matches!(self.child.try_wait(), Ok(None));
        if exited {
            self.group.kill();
        }
        exited
    }

    /// Waits until it has ended and its log has been read, and says how it ended. May be dropped and called again.
    pub(super) async fn exited(&mut self) -> String {
        let status = self.child.wait().await;
        self.group.kill();
        self.read_log().await;
        describe(status)
    }

    /// Kills it and what it started, and reads the rest of its log.
    pub(super) async fn kill(mut self) {
        self.group.kill();
        // It fails where the process has ended already.
        let _ = self.child.start_kill();
        // What ends later than that is reaped by tokio.
        let _ = tokio::time::timeout(KILL_LIMIT, self.child.wait()).await;
        self.read_log().await;
    }

    async fn read_log(&mut self) {
        let read = async { while self.readers.join_next().await.is_some() {} };
        // What is not read by then comes too late for its invocation.
        let _ = tokio::time::timeout(LOG_LIMIT, read).await;
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| format!("with a status that is not known: {error}"), |status| status.to_string())
}
