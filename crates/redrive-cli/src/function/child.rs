//! Manages a process that runs a function.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::log::{CurrentRequest, LogSink, Stream, read_lines};
use super::process_group::ProcessGroup;

/// The longest wait for the rest of a process's log after its end. Its pipes close with it, unless a process that left
/// its group holds them.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// The longest wait for the end of a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// A process that runs a function. Dropping it kills the process.
pub(super) struct Process {
    child: Child,
    group: ProcessGroup,
    /// One reader for each pipe. They end with the pipes or when this is dropped.
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

    /// Assigns all further output to this invocation.
    pub(super) fn begin(&self, request_id: &str) {
        self.request.begin(request_id);
    }

    pub(super) fn has_exited(&mut self) -> bool {
        // A process with an unknown state counts as exited, because nothing can rely on it.
        let exited = !matches!(self.child.try_wait(), Ok(None));
        if exited {
            self.group.kill();
        }
        exited
    }

    /// Waits until the process has exited and its log has been read, and returns how it exited. The call may be
    /// dropped and repeated.
    pub(super) async fn exited(&mut self) -> String {
        let status = self.child.wait().await;
        self.group.kill();
        self.read_log().await;
        describe(status)
    }

    /// Kills the process and its children, and reads the rest of its log.
    pub(super) async fn kill(mut self) {
        self.group.kill();
        // The call fails if the process has exited already.
        let _ = self.child.start_kill();
        // Tokio reaps a process that takes longer.
        let _ = tokio::time::timeout(KILL_LIMIT, self.child.wait()).await;
        self.read_log().await;
    }

    async fn read_log(&mut self) {
        let read = async { while self.readers.join_next().await.is_some() {} };
        // Output after this limit is too late for its invocation.
        let _ = tokio::time::timeout(LOG_LIMIT, read).await;
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| format!("with an unknown status: {error}"), |status| status.to_string())
}
