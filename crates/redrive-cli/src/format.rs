//! Formats findings for people, programs and GitHub.

use std::fmt::Write;

use redrive_local::template::Template;

use crate::check::rules::{Finding, Severity};

/// Formats each finding and its fix on a line each, followed by a summary.
pub(super) fn text(template: &Template, findings: &[Finding]) -> String {
    let file = &template.file;
    let mut text = String::new();
    for Finding { severity, rule, resource, place, problem, fix } in findings {
        let (line, column, severity) = (place.line, place.column, severity.name());
        text += &format!("{file}:{line}:{column}: {severity}: [{rule}] {resource}: {problem}\n    fix: {fix}\n");
    }
    let (errors, warnings) = counts(findings);
    text += &match (errors, warnings) {
        (0, 0) => format!(
            "{file}: no findings in {} and {}\n",
            counted(template.queues.len(), "queue"),
            counted(template.mappings.len(), "mapping")
        ),
        _ => format!("{file}: {}, {}\n", counted(errors, "error"), counted(warnings, "warning")),
    };
    text
}

pub(super) fn json(file: &str, findings: &[Finding]) -> String {
    let (errors, warnings) = counts(findings);
    let findings = findings.iter().map(|finding| {
        serde_json::json!({
            "severity": finding.severity.name(),
            "rule": finding.rule,
            "resource": finding.resource,
            "file": file,
            "line": finding.place.line,
            "column": finding.place.column,
            "problem": finding.problem,
            "fix": finding.fix,
        })
    });
    let findings: Vec<_> = findings.collect();
    let report = serde_json::json!({ "errors": errors, "warnings": warnings, "findings": findings });
    format!("{report:#}\n")
}

/// Formats workflow commands, which GitHub shows at the lines of the file.
///
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
pub(super) fn github(file: &str, findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, rule, resource, place, problem, fix } in findings {
        let message = data(&format!("{resource}: {problem}\nfix: {fix}"));
        let (kind, file, line, column) = (severity.name(), property(file), place.line, place.column);
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "::{kind} file={file},line={line},col={column},title={rule}::{message}");
    }
    text
}

/// Escapes a message by GitHub's rules, because a line break would end it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property, which these characters would end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn counts(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
