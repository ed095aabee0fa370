//! Rebuilds and restarts functions when their sources change.
//!
//! ```text
//! changes (something may have changed)  ->  snapshot (what has)  ->  build  ->  Processes::replace
//! ```
//!
//! Events only tell when to check. The contents of the files decide whether to build. So a build cannot start another
//! one, and changes during a build are found afterwards.

mod changes;
mod snapshot;
mod sources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinSet;

use self::changes::Changes;
use self::snapshot::Snapshot;
use self::sources::Sources;
use super::build::build;
use super::plan::PlannedFunction;
use super::screen::Screen;
use crate::function::{FunctionError, Processes, RunningFunction};

/// The watched files: the functions' packages and the template.
pub(super) struct Watch {
    changes: Changes,
    template: Template,
    packages: Vec<WatchedPackage>,
}

struct Template {
    file: PathBuf,
    read: Snapshot,
}

/// A package as of its last build.
struct WatchedPackage {
    directory: PathBuf,
    sources: Sources,
    built: Snapshot,
}

/// A function of the plan, and its processes.
type Running<'f> = (&'f PlannedFunction, &'f Arc<Processes>);

/// The result of a new program's first process, with the function's name.
type Started = (String, Result<(), FunctionError>);

/// Rebuilds and replaces functions whenever their sources change. It never completes. Dropping it ends a running build.
///
/// If the sources cannot be watched, it reports that, and everything else continues.
pub(super) async fn run(
    watch: Option<Result<Watch, String>>,
    planned: &[PlannedFunction],
    functions: &[(String, RunningFunction)],
    screen: &Screen,
) {
    match watch {
        Some(Ok(watch)) => watch.run(planned, functions, screen).await,
        Some(Err(error)) => screen.say(&format!("{error}; functions are not rebuilt when their sources change")),
        None => {}
    }
    std::future::pending().await
}

impl Watch {
    /// Starts watching. Call this before the first build, so that changes during it are not missed.
    ///
    /// An error here may keep cargo from building too. Cargo's own message is better, so this one is reported later.
    pub(super) async fn begin(functions: &[PlannedFunction], template: &str) -> Result<Self, String> {
        let changes = Changes::new().map_err(|error| format!("cannot watch for changes: {error}"))?;
        let directories: BTreeSet<_> = functions.iter().map(|function| &function.directory).collect();
        let mut packages = Vec::new();
        for directory in directories {
            let sources = Sources::of(directory).await?;
            packages.push(WatchedPackage {
                directory: directory.clone(),
                built: Snapshot::of(sources.files()),
                sources,
            });
        }
        let mut watch = Self { changes, template: Template::of(template.into()), packages };
        watch.watch_all()?;
        // No change from here on is missed, and this is what the first build uses.
        for package in &mut watch.packages {
            package.built = Snapshot::of(package.sources.files());
        }
        Ok(watch)
    }

    fn watch_all(&mut self) -> Result<(), String> {
        let directories = self.packages.iter().flat_map(|package| package.sources.directories());
        self.changes.watch(directories.chain([self.template.directory()]))
    }

    async fn run(mut self, planned: &[PlannedFunction], functions: &[(String, RunningFunction)], screen: &Screen) {
        let running = |planned| running(planned, functions);
        let running: Vec<Running<'_>> = planned.iter().filter_map(running).collect();
        let mut starts = JoinSet::new();
        loop {
            self.wait(&mut starts, screen).await;
            self.look(&running, &mut starts, screen).await;
        }
    }

    /// Waits for changes, and reports programs that do not start meanwhile.
    async fn wait(&self, starts: &mut JoinSet<Started>, screen: &Screen) {
        // The wait is kept across starts, because a new one would lose the changes of this one.
        let mut settled = pin!(self.changes.settled());
        loop {
            tokio::select! {
                () = &mut settled => return,
                Some(Ok((name, started))) = starts.join_next() => match started {
                    Ok(()) => screen.rebuilt(&name),
                    Err(error) => {
                        screen.not_rebuilt(&name, &format!("the function {name}: {error}; {GOES_ON}"));
                    }
                },
            }
        }
    }

    async fn look(&mut self, running: &[Running<'_>], starts: &mut JoinSet<Started>, screen: &Screen) {
        // New or replaced directories are watched before they are read, so that changes during the build are not
        // missed.
        if let Err(error) = self.watch_all() {
            screen.say(&error);
        }
        self.template.look(screen);
        for package in &mut self.packages {
            let Some(changed) = package.changed(&mut self.changes).await else { continue };
            screen.say(&format!("{} has changed", changed.display()));
            for &running in running.iter().filter(|(function, _)| function.directory == package.directory) {
                rebuild(running, starts, screen).await;
            }
        }
    }
}

fn running<'f>(planned: &'f PlannedFunction, functions: &'f [(String, RunningFunction)]) -> Option<Running<'f>> {
    match functions.iter().find(|(name, _)| *name == planned.name)? {
        (_, RunningFunction::InProcesses(processes)) => Some((planned, processes)),
        // The function is not built here.
        (_, RunningFunction::AtUrl(_)) => None,
    }
}

/// Reported if a new program is not usable.
const GOES_ON: &str = "the previous build keeps running";

/// Replaces the program after a build. Running invocations finish on the old program. If the new one does not build or
/// start, the old one stays.
async fn rebuild(running: Running<'_>, starts: &mut JoinSet<Started>, screen: &Screen) {
    let (function, processes) = running;
    screen.say(&format!("building {}", function.name));
    match build(function).await {
        Ok(executable) => {
            // The program may take long to start, and later changes must not wait for it.
            let (name, processes, program) = (function.name.clone(), processes.clone(), function.program(executable));
            starts.spawn(async move {
                let started = processes.replace(program).await;
                (name, started)
            });
        }
        Err(error) => screen.not_rebuilt(&function.name, &format!("{error}; {GOES_ON}")),
    }
}

impl Template {
    fn of(file: PathBuf) -> Self {
        Self { read: Snapshot::of([file.clone()]), file }
    }

    fn directory(&self) -> PathBuf {
        let directory = self.file.parent().filter(|directory| *directory != Path::new(""));
        directory.unwrap_or(Path::new(".")).to_owned()
    }

    /// Checks the template. Its queues and mappings exist already and hold messages, so they are not created again.
    fn look(&mut self, screen: &Screen) {
        let now = Snapshot::of([self.file.clone()]);
        if now != self.read {
            self.read = now;
            let file = self.file.display();
            screen.say(&format!("{file} has changed; end this command and start it again to apply the change"));
        }
    }
}

impl WatchedPackage {
    /// Returns a file that has changed since the last build, if any, and counts all of them as built.
    async fn changed(&mut self, changes: &mut Changes) -> Option<PathBuf> {
        let now = Snapshot::of(self.sources.files());
        let changed: Vec<_> = self.built.changed(&now).into_iter().map(Path::to_owned).collect();
        let first = changed.first()?.clone();
        // The build reports a manifest that cargo cannot read.
        if changed.iter().any(|file| self.sources.is_setting(file))
            && let Ok(sources) = Sources::of(&self.directory).await
        {
            self.sources = sources;
            // A directory that cannot be watched is reported at the next check.
            let _ = changes.watch(self.sources.directories());
        }
        self.built = Snapshot::of(self.sources.files());
        Some(first)
    }
}
