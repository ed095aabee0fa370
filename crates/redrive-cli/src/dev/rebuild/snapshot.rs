//! The contents of files at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// A digest of each file. It covers the contents and not the time of a change. So a build that rewrites an equal
/// `Cargo.lock`, or an editor that saves without edits, changes nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<PathBuf, u64>);

impl Snapshot {
    /// Takes a snapshot. Missing files are left out.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let digest = |file: PathBuf| {
            let content = fs::read(&file).ok()?;
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            Some((file, hasher.finish()))
        };
        Self(files.into_iter().filter_map(digest).collect())
    }

    /// Returns the files that differ from another snapshot, or that only one of them has.
    pub(super) fn changed<'s>(&'s self, other: &'s Self) -> Vec<&'s Path> {
        let differs = |file: &&PathBuf| self.0.get(*file) != other.0.get(*file);
        let new = other.0.keys().filter(|file| !self.0.contains_key(*file));
        self.0.keys().chain(new).filter(differs).map(PathBuf::as_path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[(&str, u64)]) -> Snapshot {
        Snapshot(files.iter().map(|&(file, digest)| (file.into(), digest)).collect())
    }

    #[test]
    fn changed_new_and_missing_files_are_reported() {
        let before = snapshot(&[("same", 1), ("changed", 1), ("gone", 1)]);
        let after = snapshot(&[("same", 1), ("changed", 2), ("new", 1)]);
        assert_eq!(before.changed(&after), ["changed", "gone", "new"].map(Path::new));
        assert_eq!(before.changed(&before), [] as [&Path; 0]);
    }

    #[test]
    fn file_is_identified_by_its_contents() {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let of = |file: &Path| Snapshot::of([file.to_owned()]);
        assert_eq!(of(&manifest), of(&manifest));
        assert_ne!(
            of(&manifest).0[&manifest],
            of(&manifest.with_file_name("src/main.rs")).0.into_values().next().unwrap()
        );
        assert_eq!(of(Path::new("nowhere")), Snapshot::default());
    }
}
