//! `redrive check`.

pub(crate) mod rules;

use clap::{Args, ValueEnum};

use self::rules::{Severity, check};
use super::Done;
use super::format::{github, json, text};
use super::input::TemplateArguments;

/// Find settings in a template that lose or delay messages, or that AWS refuses
///
/// Exits with 0 if there are no errors, with 1 if there are some, and with 2 if the template cannot be read.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    template: TemplateArguments,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
    /// Annotations for GitHub Actions
    Github,
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let template = arguments.template.read(None)?;
    let findings = check(&template);
    let output = match arguments.format {
        Format::Text => text(&template, &findings),
        Format::Json => json(&template.file, &findings),
        Format::Github => github(&template.file, &findings),
    };
    let is_good = findings.iter().all(|finding| finding.severity == Severity::Warning && !arguments.strict);
    Ok(Done { output, is_good })
}
