//! Runs cargo as a child process.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::function::ProcessGroup;

/// Runs cargo to its end.
///
/// Dropping the future ends cargo and the compilers that it has started.
pub(super) async fn cargo(arguments: &[&str], directory: &Path, errors: Stdio) -> Result<Output, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    run(command).await.map_err(|error| {
        format!("cannot run {}: {error}; install Rust from https://rustup.rs", Path::new(&cargo).display())
    })
}

async fn run(mut command: Command) -> io::Result<Output> {
    ProcessGroup::prepare(&mut command);
    let child = command.spawn()?;
    let group = ProcessGroup::of(&child);
    let output = child.wait_with_output().await;
    // Processes that still run now are not part of the build. The server of a compiler cache must live on.
    group.release();
    output
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Bash keeps a connection open while a program lives that it has started.
    fn bash(address: &str, then: &str) -> Command {
        let mut command = Command::new("bash");
        let (host, port) = address.split_once(':').unwrap();
        command.args(["-c", &format!("exec 3<>/dev/tcp/{host}/{port}; {then}")]).stdout(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn cancelled_build_ends_all_processes_that_it_started() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut life = tokio::select! {
            _ = run(bash(&address, "sleep 600 & wait")) => panic!("it waits for a child of its own"),
            life = listener.accept() => life.unwrap().0,
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), life.read_u8()).await;
        assert!(ended.expect("no process holds the connection any more").is_err());
    }

    #[tokio::test]
    async fn process_that_outlives_its_build_continues() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = "(read line <&3; echo $line >&3) >/dev/null 2>&1 & echo built";
        let (built, life) = tokio::join!(run(bash(&address, left)), listener.accept());
        assert_eq!(built.unwrap().stdout, b"built\n");
        let (mut life, mut answer) = (life.unwrap().0, [0; 5]);
        tokio::io::AsyncWriteExt::write_all(&mut life, b"live\n").await.unwrap();
        life.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"live\n");
    }
}
