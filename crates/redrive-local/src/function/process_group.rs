//! A process with all that it started itself.

#[cfg(unix)]
use std::process::Stdio;

use tokio::process::{Child, Command};

/// The process group of a function, or of a build. It is killed when this is dropped: no process outlives its owner, be the
/// function itself behind a script, or a program that it has started.
///
/// A group of its own also keeps Ctrl-C from it. A terminal sends that to every process of its group, and would end
/// functions that are still to be waited for.
pub struct ProcessGroup {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
    #[cfg(unix)]
    guard: Option<Child>,
}

/// Waits for the end of a pipe that nobody writes to, and kills the group that it is in.
#[cfg(unix)]
const GUARD: &str = "read _; kill -KILL 0";

impl ProcessGroup {
    /// Has the command start a group.
    pub fn prepare(command: &mut Command) {
        #[cfg(unix)]
        command.process_group(0);
        // Elsewhere there is the process itself, and no more.
        command.kill_on_drop(true);
    }

    pub fn of(child: &Child) -> Self {
        #[cfg(not(unix))]
        let _ = child;
        Self {
            #[cfg(unix)]
            leader: child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)),
            #[cfg(unix)]
            guard: None,
        }
    }

    /// Has the group end with this process even where this process is killed, and drops nothing. Without a guard a function
    /// then ends at its next call, as there is no Runtime API; one that hangs makes none.
    ///
    /// The guard is a shell of the group. It names no number, so it cannot hit another group, and its pipe closes with this
    /// process on every Unix. (Linux's own way, a signal at a parent's death, takes unsafe code between fork and exec, and
    /// comes when the thread ends that forked.) Where there is no shell, there is no guard.
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

    /// Kills what still runs of it. To be called as soon as the leader is known to have ended: after that its number may
    /// some day be another's.
    pub fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader.take() {
            // It fails where none is left, which is what is wanted.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    /// Lets what still runs of it live on.
    pub fn release(mut self) {
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
