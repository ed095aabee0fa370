//! Functions are built and started anew when their sources change.
//!
//! ```text
//! changes (something may have changed)  ->  snapshot (what has)  ->  build  ->  Processes::replace
//! ```
//!
//! Events only tell when to look. Whether there is something to build is decided by what the files hold, so a build cannot
//! set off another, and what changes while one runs is seen after it.

mod changes;
mod snapshot;
mod sources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use redrive_local::function::{Function, FunctionError, Processes};
use tokio::task::JoinSet;

use self::changes::Changes;
use self::snapshot::Snapshot;
use self::sources::Sources;
use super::build::build;
use super::plan::PlannedFunction;
use super::screen::Screen;

/// What is watched: the packages of functions, and the template.
pub(super) struct Watch {
    changes: Changes,
    template: Template,
    packages: Vec<Package>,
}

struct Template {
    file: PathBuf,
    read: Snapshot,
}

/// A package, as it was last built.
struct Package {
    directory: PathBuf,
    sources: Sources,
    built: Snapshot,
}

/// A function of the plan, and the processes that run it.
type Running<'f> = (&'f PlannedFunction, &'f Arc<Processes>);

/// The first process of a new program: the function's name, and whether it works.
type Started = (String, Result<(), FunctionError>);

/// Builds and replaces functions whenever their sources have changed. It does not end; dropped, it ends a build.
///
/// Where they cannot be watched, it is said, and all else goes on.
pub(super) async fn run(
    watch: Option<Result<Watch, String>>,
    planned: &[PlannedFunction],
    functions: &[(String, Function)],
    screen: &Screen,
) {
    match watch {
        Some(Ok(watch)) => watch.run(planned, functions, screen).await,
        Some(Err(error)) => screen.say(&format!("{error}; functions stay as they are when their sources change")),
        None => {}
    }
    std::future::pending().await
}

impl Watch {
    /// To be called before the functions are built: what changes while they are is not missed then.
    ///
    /// What keeps it from watching may keep cargo from building as well, which is the better one to tell of it.
    pub(super) async fn begin(functions: &[PlannedFunction], template: &str) -> Result<Self, String> {
        let changes = Changes::new().map_err(|error| format!("cannot watch for changes: {error}"))?;
        let directories: BTreeSet<_> = functions.iter().map(|function| &function.directory).collect();
        let mut packages = Vec::new();
        for directory in directories {
            let sources = Sources::of(directory).await?;
            packages.push(Package { directory: directory.clone(), built: Snapshot::of(sources.files()), sources });
        }
        let mut watch = Self { changes, template: Template::of(template.into()), packages };
        watch.watch_all()?;
        // From here on nothing goes unseen; and this is what is built.
        for package in &mut watch.packages {
            package.built = Snapshot::of(package.sources.files());
        }
        Ok(watch)
    }

    fn watch_all(&mut self) -> Result<(), String> {
        let directories = self.packages.iter().flat_map(|package| package.sources.directories());
        self.changes.watch(directories.chain([self.template.directory()]))
    }

    async fn run(mut self, planned: &[PlannedFunction], functions: &[(String, Function)], screen: &Screen) {
        let running = |planned| running(planned, functions);
        let running: Vec<Running<'_>> = planned.iter().filter_map(running).collect();
        let mut starts = JoinSet::new();
        loop {
            self.wait(&mut starts, screen).await;
            self.look(&running, &mut starts, screen).await;
        }
    }

    /// Waits for changes, and tells meanwhile of programs that do not start.
    async fn wait(&self, starts: &mut JoinSet<Started>, screen: &Screen) {
        // Not a new one after each start: what this one has heard of, another would not hear of again.
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
        // Directories that are new, or others of the same name by now, are watched before they are read: what changes in
        // them while this builds is not missed.
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

fn running<'f>(planned: &'f PlannedFunction, functions: &'f [(String, Function)]) -> Option<Running<'f>> {
    match functions.iter().find(|(name, _)| *name == planned.name)? {
        (_, Function::Processes(processes)) => Some((planned, processes)),
        // Nothing of it is built here.
        (_, Function::InProcess(_) | Function::InvokeUrl(_)) => None,
    }
}

/// Said where a new program is none.
const GOES_ON: &str = "what was built before goes on";

/// What runs comes to its end on the old program. Everything else does so too where the new one is not built or does not
/// start.
async fn rebuild(running: Running<'_>, starts: &mut JoinSet<Started>, screen: &Screen) {
    let (function, processes) = running;
    screen.say(&format!("building {}", function.name));
    match build(function).await {
        Ok(executable) => {
            // It may take long to start, and changes are not to wait with it.
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

    /// Queues and mappings are there already, and what was sent is in them: they are not made anew.
    fn look(&mut self, screen: &Screen) {
        let now = Snapshot::of([self.file.clone()]);
        if now != self.read {
            self.read = now;
            let file = self.file.display();
            screen.say(&format!("{file} has changed; end this command and start it again, to have it run"));
        }
    }
}

impl Package {
    /// A file that is not as it was, if there is one. All of them are taken for built then.
    async fn changed(&mut self, changes: &mut Changes) -> Option<PathBuf> {
        let now = Snapshot::of(self.sources.files());
        let changed: Vec<_> = self.built.changed(&now).into_iter().map(Path::to_owned).collect();
        let first = changed.first()?.clone();
        // A manifest that cargo cannot read is told of by the build.
        if changed.iter().any(|file| self.sources.is_setting(file))
            && let Ok(sources) = Sources::of(&self.directory).await
        {
            self.sources = sources;
            // Where it cannot be watched, it is said at the next look.
            let _ = changes.watch(self.sources.directories());
        }
        self.built = Snapshot::of(self.sources.files());
        Some(first)
    }
}
