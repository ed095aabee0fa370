//! The findings of rules.

use redrive_local::template::Place;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Messages are lost, or AWS refuses the template.
    Error,
    /// Messages are delayed, or something is at risk.
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
    /// The resource with the fault.
    pub(crate) resource: String,
    pub(crate) place: Place,
    /// The consequence of the fault.
    pub(crate) problem: String,
    /// The remedy.
    pub(crate) fix: String,
}

/// Collects the findings of one rule.
pub(super) struct Findings<'f> {
    rule: &'static str,
    findings: &'f mut Vec<Finding>,
}

impl<'f> Findings<'f> {
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
