//! Cargo, as a process of ours.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use redrive_local::function::ProcessGroup;

/// Runs cargo to its end.
///
/// If this is dropped before, cargo ends, and with it the compilers that it has started.
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
    // What still runs now is no part of a build, but the server of a compiler's cache, which is to live on.
    group.release();
    output
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Bash holds a connection open for as long as a program lives that it has started.
    fn bash(address: &str, then: &str) -> Command {
        let mut command = Command::new("bash");
        let (host, port) = address.split_once(':').unwrap();
        command.args(["-c", &format!("exec 3<>/dev/tcp/{host}/{port}; {then}")]).stdout(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn what_a_build_has_started_ends_when_the_build_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut life = tokio::select! {
            _ = run(bash(&address, "sleep 600 & wait")) => panic!("it waits for a child of its own"),
            life = listener.accept() => life.unwrap().0,
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), life.read_u8()).await;
        assert!(ended.expect("nothing holds the connection any more").is_err());
    }

    #[tokio::test]
    async fn what_a_build_leaves_running_lives_on() {
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
