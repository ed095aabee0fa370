//! Installs the Node package that the benchmark needs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Installs `sqs-producer` under `target`, and returns the path of the script that sends through it.
///
/// # Errors
///
/// Returns an error if the installation fails.
pub(crate) fn sqs_producer() -> Result<PathBuf, String> {
    // The packages stay under `target`, because they are not part of this repository.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-producer");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/producer");
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    for name in ["package.json", "sqs_producer.mjs"] {
        fs::copy(sources.join(name), target.join(name)).map_err(|error| format!("cannot copy {name}: {error}"))?;
    }
    let npm = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
    let status = Command::new("npm").args(npm).current_dir(&target).stdout(Stdio::null()).status();
    let need = "this benchmark needs Node 20, npm and access to its registry; or leave the peer out with `--no-peers`";
    match status {
        Ok(status) if status.success() => Ok(target.join("sqs_producer.mjs")),
        Ok(status) => Err(format!("`npm install` failed ({status}); {need}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("there is no `npm` on the PATH; {need}")),
        Err(error) => Err(format!("cannot start `npm`: {error}")),
    }
}
