//! What a rule has to say.

use redrive_local::template::Place;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Messages are lost, or AWS refuses it.
    Error,
    /// Messages are late, or something is at risk.
    Warning,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A fault in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The rule's name, in kebab-case.
    pub(crate) rule: &'static str,
    /// The resource that is at fault.
    pub(crate) resource: String,
    pub(crate) place: Place,
    /// What will happen.
    pub(crate) problem: String,
    /// What to do about it.
    pub(crate) fix: String,
}

/// Findings of one rule.
pub(super) struct Report<'f> {
    rule: &'static str,
    findings: &'f mut Vec<Finding>,
}

impl<'f> Report<'f> {
    pub(super) fn new(rule: &'static str, findings: &'f mut Vec<Finding>) -> Self {
        Self { rule, findings }
    }

    pub(super) fn error(&mut self, resource: &str, place: Place, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Error, resource, place, problem.into(), fix.into());
    }

    pub(super) fn warning(&mut self, resource: &str, place: Place, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, resource, place, problem.into(), fix.into());
    }

    fn add(&mut self, severity: Severity, resource: &str, place: Place, problem: String, fix: String) {
        let resource = resource.to_owned();
        self.findings.push(Finding { severity, rule: self.rule, resource, place, problem, fix });
    }
}
