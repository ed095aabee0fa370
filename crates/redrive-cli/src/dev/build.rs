//! Builds a function's executable from its package.

use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;

use super::cargo::cargo;
use super::plan::PlannedFunction;

/// A line of cargo's JSON messages.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    kind: Vec<String>,
}

/// Builds the function's binary. Cargo's errors go to this process's stderr.
pub(super) async fn build(function: &PlannedFunction) -> Result<PathBuf, String> {
    let mut arguments = vec!["build", "--message-format", "json-render-diagnostics"];
    match &function.binary {
        Some(binary) => arguments.extend(["--bin", binary]),
        None => arguments.push("--bins"),
    }
    let built = cargo(&arguments, &function.directory, Stdio::inherit()).await?;
    if !built.status.success() {
        return Err(format!(
            "the function {} does not build ({}); see cargo's errors above",
            function.name, built.status
        ));
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
    let message: CargoMessage = serde_json::from_slice(line).ok()?;
    let target = message.target.filter(|target| target.kind.iter().any(|kind| kind == "bin"))?;
    Some((target.name, message.executable.filter(|_| message.reason == "compiler-artifact")?))
}
