//! From a package to an executable.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use super::plan::PlannedFunction;

/// What cargo tells of its work, a line each.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds the function's binary. What cargo has to say goes to this process's own errors.
pub(super) async fn build(function: &PlannedFunction) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--message-format", "json-render-diagnostics"]).current_dir(&function.directory);
    match &function.binary {
        Some(binary) => command.args(["--bin", binary]),
        None => command.arg("--bins"),
    };
    let built =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await.map_err(|error| {
            format!("cannot run {}: {error}; install Rust from https://rustup.rs", Path::new(&cargo).display())
        })?;
    if !built.status.success() {
        return Err(format!("the function {} does not build ({}); cargo says why above", function.name, built.status));
    }
    let executables = built.stdout.split(|&byte| byte == b'\n').filter_map(executable).collect::<Vec<_>>();
    match &executables[..] {
        [(_, executable)] => Ok(executable.clone()),
        [] => Err(format!("{} has no binary for the function {}", function.directory.display(), function.name)),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            let (names, function) = (names.join(", "), &function.name);
            Err(format!("the function {function} may be any of {names}; name one in Metadata.BuildProperties.Binary"))
        }
    }
}

fn executable(line: &[u8]) -> Option<(String, PathBuf)> {
    let message: Message = serde_json::from_slice(line).ok()?;
    let target = message.target.filter(|target| target.kind.iter().any(|kind| kind == "bin"))?;
    Some((target.name, message.executable.filter(|_| message.reason == "compiler-artifact")?))
}
