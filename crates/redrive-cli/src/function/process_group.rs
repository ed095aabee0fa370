//! Manages a process together with its children.

#[cfg(unix)]
use std::process::Stdio;

use tokio::process::{Child, Command};

/// The process group of a function or a build. Dropping it kills the group, so no process outlives its owner. This
/// includes a function behind a script, and programs that the function started.
///
/// A separate group also protects the processes from Ctrl-C. A terminal sends that signal to every process of its own
/// group, and would end functions before their invocations are finished.
pub(crate) struct ProcessGroup {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
    #[cfg(unix)]
    guard: Option<Child>,
}

/// Waits for the end of a pipe without a writer, and then kills its own group.
#[cfg(unix)]
const GUARD: &str = "read _; kill -KILL 0";

impl ProcessGroup {
    /// Makes the command start a new group.
    pub(crate) fn prepare(command: &mut Command) {
        #[cfg(unix)]
        command.process_group(0);
        // Other systems have no groups, so only the process itself is killed.
        command.kill_on_drop(true);
    }

    pub(crate) fn of(child: &Child) -> Self {
        #[cfg(not(unix))]
        let _ = child;
        Self {
            #[cfg(unix)]
            leader: child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)),
            #[cfg(unix)]
            guard: None,
        }
    }

    /// Makes the group end with this process, even if this process is killed and runs no destructors. Without a guard,
    /// a function ends at its next call to the missing Runtime API, but a hanging function makes no call.
    ///
    /// The guard is a shell in the group. It kills its own group without a process id, so it cannot hit another group.
    /// Its pipe closes with this process on every Unix. Linux's parent-death signal needs unsafe code between fork and
    /// exec, and follows the end of the forking thread. Without a shell there is no guard.
    pub(super) fn guarded(mut self) -> Self {
        #[cfg(unix)]
        if let Some(leader) = self.leader {
            let mut command = Command::new("sh");
            command.args(["-c", GUARD]).process_group(leader.as_raw_nonzero().get());
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            self.guard = command.spawn().ok();
        }
        #[cfg(not(unix))]
        let _ = &mut self;
        self
    }

    /// Kills the remaining processes of the group. Call it as soon as the leader has exited, because another process
    /// may later get the same process id.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader.take() {
            // The call fails if no process is left, which is the desired state.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    /// Leaves the remaining processes of the group running.
    pub(crate) fn release(mut self) {
        #[cfg(unix)]
        let _ = self.leader.take();
        #[cfg(not(unix))]
        let _ = &mut self;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
