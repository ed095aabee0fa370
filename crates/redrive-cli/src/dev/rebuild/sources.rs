//! Finds the source files of a package.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::super::cargo::cargo;

/// The sources of a package, of its workspace, and of packages that they depend on by path. Packages of a registry
/// change only with `Cargo.lock`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sources {
    /// Directories that are sources as a whole.
    trees: BTreeSet<PathBuf>,
    /// Manifests, cargo's settings and build scripts. They need not exist.
    single: BTreeSet<PathBuf>,
    /// The target directory, which may be inside a source directory.
    target_directory: PathBuf,
}

/// The used parts of `cargo metadata`.
///
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    /// The origin of a package, or `None` for a path.
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Kinds of targets that no function is built from.
const NOT_BUILT: [&str; 3] = ["bench", "example", "test"];

/// The limit of nested directories. No project nests modules that deep.
const MAX_DEPTH: usize = 64;

impl Sources {
    /// Asks cargo. It updates `Cargo.lock` if necessary, so the following build does not. The build reports cargo's
    /// errors about the package, or they would appear twice.
    pub(super) async fn of(package: &Path) -> Result<Self, String> {
        let output = cargo(&["metadata", "--quiet", "--format-version", "1"], package, Stdio::null()).await?;
        if !output.status.success() {
            return Err(format!("`cargo metadata` failed in {}: {}", package.display(), output.status));
        }
        let metadata = serde_json::from_slice::<Metadata>(&output.stdout);
        Ok(Self::of_metadata(
            metadata.map_err(|error| format!("the output of `cargo metadata` cannot be read: {error}"))?,
        ))
    }

    fn of_metadata(metadata: Metadata) -> Self {
        let root = metadata.workspace_root;
        let settings = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml"];
        let mut single: BTreeSet<_> = settings.into_iter().map(|name| root.join(name)).collect();
        let mut trees = BTreeSet::new();
        for package in metadata.packages.into_iter().filter(|package| package.source.is_none()) {
            for target in package.targets {
                let is = |kind: &str| target.kind.iter().any(|found| found == kind);
                if is("custom-build") {
                    single.insert(target.src_path);
                } else if !NOT_BUILT.into_iter().any(is) {
                    trees.extend(target.src_path.parent().map(Path::to_owned));
                }
            }
            single.insert(package.manifest_path);
        }
        Self { trees, single, target_directory: metadata.target_directory }
    }

    /// Returns whether a change of this file may change the list of sources.
    pub(super) fn is_setting(&self, file: &Path) -> bool {
        self.single.contains(file)
    }

    /// Returns all files, including missing ones.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = self.single.clone();
        self.walk(&mut |path, is_directory| {
            if !is_directory {
                files.insert(path);
            }
        });
        files
    }

    /// Returns all directories in which a file can change.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        let mut directories: BTreeSet<_> =
            self.single.iter().filter_map(|file| Some(file.parent()?.to_owned())).collect();
        directories.retain(|directory| directory.is_dir());
        directories.extend(self.trees.iter().cloned());
        self.walk(&mut |path, is_directory| {
            if is_directory {
                directories.insert(path);
            }
        });
        directories
    }

    fn walk(&self, found: &mut impl FnMut(PathBuf, bool)) {
        for tree in &self.trees {
            self.walk_in(tree, MAX_DEPTH, found);
        }
    }

    fn walk_in(&self, directory: &Path, depth: usize, found: &mut impl FnMut(PathBuf, bool)) {
        // An unreadable directory could not be built either, and a removed one is no longer a source.
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if is_left_out(&entry.file_name()) || path == self.target_directory {
                continue;
            }
            // Links to directories are not followed, because they may form a cycle.
            let is_directory = kind.is_ok_and(|kind| kind.is_dir());
            if is_directory && depth > 0 {
                self.walk_in(&path, depth - 1, found);
            }
            found(path, is_directory);
        }
    }
}

/// Returns whether the name belongs to files of editors or version control.
fn is_left_out(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.ends_with(b"~")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(targets: &str) -> Sources {
        let metadata = format!(
            r#"{{"packages": [
                {{"source": null, "manifest_path": "/w/orders/Cargo.toml", "targets": {targets}}},
                {{"source": "registry+x", "manifest_path": "/r/serde/Cargo.toml",
                  "targets": [{{"kind": ["lib"], "src_path": "/r/serde/src/lib.rs"}}]}}
            ], "workspace_root": "/w", "target_directory": "/w/target"}}"#
        );
        Sources::of_metadata(serde_json::from_str(&metadata).unwrap())
    }

    fn paths<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Vec<&'p str> {
        paths.into_iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn local_packages_are_sources_and_registry_packages_are_not() {
        let sources = sources(
            r#"[{"kind": ["lib"], "src_path": "/w/orders/src/lib.rs"},
                {"kind": ["bin"], "src_path": "/w/orders/src/bin/orders.rs"},
                {"kind": ["custom-build"], "src_path": "/w/orders/build.rs"},
                {"kind": ["test"], "src_path": "/w/orders/tests/it.rs"},
                {"kind": ["bench"], "src_path": "/w/orders/benches/b.rs"}]"#,
        );
        assert_eq!(paths(&sources.trees), ["/w/orders/src", "/w/orders/src/bin"]);
        let settings = ["/w/.cargo/config.toml", "/w/Cargo.lock", "/w/Cargo.toml"];
        let expected = [&settings[..], &["/w/orders/Cargo.toml", "/w/orders/build.rs", "/w/rust-toolchain.toml"]];
        assert_eq!(paths(&sources.single), expected.concat());
    }

    #[test]
    fn build_output_and_hidden_files_are_not_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // The test acts as if the package's root were a program's.
        let sources = Sources {
            trees: [root.to_owned()].into(),
            single: BTreeSet::new(),
            target_directory: root.join("src/dlq"),
        };
        let (files, directories) = (sources.files(), sources.directories());
        assert!(files.contains(&root.join("src/dev/rebuild/mod.rs")));
        assert!(directories.contains(root) && directories.contains(&root.join("src/dev/rebuild")));
        let is_hidden = |path: &&PathBuf| path.starts_with(root.join(".git")) || path.starts_with(root.join("src/dlq"));
        assert_eq!(files.iter().chain(&directories).find(is_hidden), None);
    }
}
