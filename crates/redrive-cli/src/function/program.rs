//! Describes how to start a function's process.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::process_group::ProcessGroup;

/// The variables of this process that a function inherits: those that programs need to run, and those for debugging.
/// AWS profiles, credentials and regions are excluded, because a function has its own.
const INHERITED: [&str; 21] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    // Most programs do not start on Windows without these.
    "APPDATA",
    "COMSPEC",
    "LOCALAPPDATA",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERPROFILE",
    "WINDIR",
];

/// An executable and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The working directory, by default that of this process.
    pub(crate) directory: Option<PathBuf>,
}

/// The settings for a function's environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) memory_mb: u32,
    /// The variables of the template.
    pub(crate) variables: BTreeMap<String, String>,
    /// Local replacements for these variables: an endpoint and fake credentials.
    pub(crate) overrides: BTreeMap<String, String>,
}

impl Program {
    pub(crate) fn new(executable: impl Into<PathBuf>) -> Self {
        Self { executable: executable.into(), arguments: Vec::new(), directory: None }
    }

    pub(super) fn command(&self, settings: &Settings, runtime_api: SocketAddr) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(&self.arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs(lambda_environment(settings, &self.executable));
        command.envs(&settings.variables).envs(&settings.overrides);
        command.env("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string());
        // A process runs one invocation at a time, so it must not poll for more.
        command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY");
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ProcessGroup::prepare(&mut command);
        command
    }
}

/// Returns the variables that Lambda sets for every function.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
fn lambda_environment(settings: &Settings, executable: &Path) -> [(&'static str, OsString); 13] {
    let (name, region) = (&settings.name, &settings.region);
    [
        ("AWS_DEFAULT_REGION", region.into()),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings.memory_mb.to_string().into()),
        ("AWS_LAMBDA_FUNCTION_NAME", name.into()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}").into()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef".into()),
        ("AWS_REGION", region.into()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".into()),
        ("LAMBDA_TASK_ROOT", executable.parent().unwrap_or(Path::new(".")).into()),
        ("TZ", ":UTC".into()),
        ("_HANDLER", "bootstrap".into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn variable<'a>(command: &'a Command, name: &str) -> Option<&'a OsStr> {
        command.as_std().get_envs().find(|(key, _)| *key == name)?.1
    }

    fn command(settings: &Settings) -> Command {
        Program::new("/opt/orders").command(settings, ([127, 0, 0, 1], 9001).into())
    }

    fn variables(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn environment_contains_the_variables_of_lambda() {
        let settings =
            Settings { name: "orders".into(), region: "eu-west-1".into(), memory_mb: 256, ..Settings::default() };
        let command = command(&settings);
        assert_eq!(variable(&command, "AWS_LAMBDA_FUNCTION_NAME"), Some("orders".as_ref()));
        assert_eq!(variable(&command, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), Some("256".as_ref()));
        assert_eq!(variable(&command, "AWS_REGION"), Some("eu-west-1".as_ref()));
        assert_eq!(variable(&command, "AWS_LAMBDA_RUNTIME_API"), Some("127.0.0.1:9001".as_ref()));
        assert_eq!(variable(&command, "LAMBDA_TASK_ROOT"), Some("/opt".as_ref()));
        assert_eq!(variable(&command, "PATH"), env::var_os("PATH").as_deref());
    }

    #[test]
    fn overrides_replace_template_variables_and_the_runtime_api_replaces_both() {
        let settings = Settings {
            variables: variables(&[("A", "template"), ("B", "template"), ("AWS_LAMBDA_MAX_CONCURRENCY", "8")]),
            overrides: variables(&[("B", "override"), ("AWS_LAMBDA_RUNTIME_API", "elsewhere")]),
            ..Settings::default()
        };
        let command = command(&settings);
        assert_eq!(variable(&command, "A"), Some("template".as_ref()));
        assert_eq!(variable(&command, "B"), Some("override".as_ref()));
        assert_eq!(variable(&command, "AWS_LAMBDA_RUNTIME_API"), Some("127.0.0.1:9001".as_ref()));
        assert_eq!(variable(&command, "AWS_LAMBDA_MAX_CONCURRENCY"), None);
    }
}
