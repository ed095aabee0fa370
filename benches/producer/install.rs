//! What the benchmark needs of Node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Installs `sqs-producer` under `target`, and says where the script is that sends through it.
///
/// # Errors
///
/// Where it cannot be.
pub(crate) fn sqs_producer() -> Result<PathBuf, String> {
    // Nothing of it is this repository's.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-producer");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/producer");
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    for name in ["package.json", "sqs_producer.mjs"] {
        fs::copy(sources.join(name), target.join(name)).map_err(|error| format!("{name} is not copied: {error}"))?;
    }
    let npm = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
    let status = Command::new("npm").args(npm).current_dir(&target).stdout(Stdio::null()).status();
    let need =
        "this benchmark needs Node 20 and npm, with its registry within reach; or leave it out with `--no-peers`";
    match status {
        Ok(status) if status.success() => Ok(target.join("sqs_producer.mjs")),
        Ok(status) => Err(format!("`npm install` failed ({status}); {need}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("there is no `npm` on the PATH; {need}")),
        Err(error) => Err(format!("`npm` does not start: {error}")),
    }
}
