//! A PostgreSQL server on its own port, which ends when its last user drops it.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The folder of the server's programs, which `scripts/test` sets.
const PROGRAMS: &str = "REDRIVE_TEST_POSTGRES";

const REMEDY: &str =
    "run `scripts/test`, which brings one, or set REDRIVE_TEST_POSTGRES to the folder of initdb and postgres";

const START_LIMIT: Duration = Duration::from_secs(60);

/// A server with a database cluster in its own folder.
pub(crate) struct Server {
    programs: PathBuf,
    data: PathBuf,
    pub(crate) port: u16,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// Returns the server that all tests of this process share.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts a separate server that a test may stop and start.
    pub(crate) fn start() -> Self {
        let folder = env::temp_dir().join(format!("redrive-postgres-{}-{}", std::process::id(), fastrand::u64(..)));
        let programs = programs(&folder);
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        give_away(&data);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { programs, data, port, process: Mutex::default() };
        let mut initdb = server.command("initdb");
        initdb.args(["--username=redrive", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(&server.data).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.begin();
        server
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn begin(&self) {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100", "fsync=off"] {
            postgres.args(["-c", setting]);
        }
        let mut process = postgres.spawn().unwrap();
        let limit = Instant::now() + START_LIMIT;
        // A starting server accepts connections only to refuse them, and clients try again.
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < limit, "postgres does not accept connections: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.process() = Some(process);
    }

    /// Ends the server at once with all connections, as when its machine crashes.
    pub(crate) fn kill(&self) {
        let Some(mut process) = self.process().take() else { return };
        // `SIGQUIT` is PostgreSQL's own immediate shutdown. A plain kill would leave its children behind.
        let stop = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status().unwrap();
        assert!(stop.success());
        process.wait().unwrap();
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://redrive@127.0.0.1:{}/{database}", self.port)
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if program == "postgres" {
            command.stderr(Stdio::null());
        }
        if let Some(user) = nobody() {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(user);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let folder = self.data.parent().unwrap_or(&self.data);
        if let Err(error) = fs::remove_dir_all(folder) {
            eprintln!("{}: {error}", folder.display());
        }
    }
}

/// Returns the user that runs the server if we are root, because PostgreSQL refuses to run as root.
fn nobody() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    // The owner of a new file is our user.
    let ours = env::temp_dir().join(format!("redrive-who-{}-{}", std::process::id(), fastrand::u64(..)));
    fs::write(&ours, "").unwrap();
    let user = fs::metadata(&ours).unwrap().uid();
    fs::remove_file(&ours).unwrap();
    (user == 0).then_some(65_534)
}

fn give_away(folder: &Path) {
    if let Some(user) = nobody() {
        std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
    }
}

/// Returns the folder of the server's programs. If we are root they are copied, because the server's user may not have
/// access to the original.
fn programs(folder: &Path) -> PathBuf {
    let found = env::var_os(PROGRAMS).map(PathBuf::from).or_else(installed);
    let bin = found.unwrap_or_else(|| panic!("no PostgreSQL was found for the tests; {REMEDY}"));
    assert!(bin.join("initdb").exists(), "{PROGRAMS} is {}, and there is no initdb in it; {REMEDY}", bin.display());
    if nobody().is_none() || bin.starts_with("/usr") {
        return bin;
    }
    fs::create_dir_all(folder).unwrap();
    let copied = Command::new("cp").arg("-RL").arg(bin.parent().unwrap()).arg(folder.join("server")).status().unwrap();
    assert!(copied.success());
    folder.join("server/bin")
}

/// Returns the PostgreSQL that is installed on the machine.
fn installed() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH")?).find(|folder| folder.join("initdb").exists());
    on_path.or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())
    })
}
