//! Tests the compiler's errors for common mistakes. Each file of `tests/ui` is a program with one mistake. It begins
//! with the words that its error must contain: this crate's words and the program's names. The compiler's own words may
//! change.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const MANIFEST: &str = r#"
[package]
name = "ui"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
serde = { version = "1", features = ["derive"] }
tokio = { version = "1", features = ["full"] }
"#;

#[test]
fn each_mistake_is_refused_with_a_helpful_error() {
    let errors = check_all();
    let mut failed = Vec::new();
    for (name, source) in fixtures() {
        let Some(error) = errors.get(&name) else {
            failed.push(format!("{name} compiles"));
            continue;
        };
        for words in source.lines().map_while(|line| line.strip_prefix("//~ ")) {
            if !error.contains(words) {
                failed.push(format!("{name}: {words:?} is not in\n{error}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Returns the name and the text of each program.
fn fixtures() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let fixtures: Vec<_> = files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(
        fixtures.iter().all(|(_, source)| source.starts_with("//~ ")),
        "a fixture starts with the words of its error"
    );
    assert!(!fixtures.is_empty());
    fixtures
}

/// Checks all programs in a separate package and returns the errors by program.
fn check_all() -> HashMap<String, String> {
    let redrive = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let programs = package.join("src/bin");
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).unwrap();
    for (name, source) in fixtures() {
        fs::write(programs.join(name).with_extension("rs"), source).unwrap();
    }
    fs::write(package.join("Cargo.toml"), format!("{MANIFEST}redrive = {{ path = {redrive:?} }}\n")).unwrap();
    // The same lock file, so that cargo does not query a registry.
    fs::copy(redrive.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["check", "--bins", "--keep-going", "--message-format=json"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .output()
        .unwrap();
    let mut errors: HashMap<String, String> = HashMap::new();
    for line in String::from_utf8_lossy(&cargo.stdout).lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message["reason"] == "compiler-message" && message["message"]["level"] == "error" {
            let name = message["target"]["name"].as_str().unwrap().to_owned();
            errors.entry(name).or_default().push_str(message["message"]["rendered"].as_str().unwrap());
        }
    }
    assert!(!errors.is_empty(), "{}", String::from_utf8_lossy(&cargo.stderr));
    errors
}
