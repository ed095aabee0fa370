//! The template of a command.

use std::path::{Path, PathBuf};

use clap::Args;

use redrive_local::template::{Inputs, Template};

/// The template, and the values for reading it.
#[derive(Args)]
pub(super) struct TemplateArguments {
    /// The SAM or CloudFormation template; the default is template.yaml, template.yml or template.json in this
    /// directory
    template: Option<PathBuf>,
    /// A value for a parameter of the template, instead of its default
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// The value of `AWS::Region`; the default is AWS_REGION or AWS_DEFAULT_REGION, or else us-east-1, or the region of
    /// an --endpoint-url
    #[arg(long)]
    region: Option<String>,
    /// The value of `AWS::StackName`
    #[arg(long, default_value = "local")]
    pub(super) stack_name: String,
}

impl TemplateArguments {
    /// Reads the template for an account.
    pub(super) fn read(&self, account: Option<&str>) -> Result<Template, String> {
        let region = self.region();
        self.read_with(account, &region, &format!("https://sqs.{region}.amazonaws.com"))
    }

    /// Returns the region of the template's resources.
    pub(super) fn region(&self) -> String {
        self.region.clone().unwrap_or_else(|| default_region(|name| std::env::var(name).ok()))
    }

    /// Reads the template for queues at another endpoint, in its region unless the user names one.
    pub(super) fn read_with(&self, account: Option<&str>, region: &str, endpoint: &str) -> Result<Template, String> {
        let file = match &self.template {
            Some(file) => file.clone(),
            None => found_here()?,
        };
        let bytes = std::fs::read(&file)
            .map_err(|error| format!("cannot read {}: {error}; name the template as an argument", file.display()))?;
        let name = file.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            format!("{name} is not UTF-8 text: byte {} is invalid; save it as UTF-8", error.utf8_error().valid_up_to())
        })?;
        let defaults = Inputs::default();
        let inputs = Inputs {
            parameters: self.parameters.clone(),
            region: self.region.clone().unwrap_or_else(|| region.to_owned()),
            account: account.map_or(defaults.account, str::to_owned),
            stack_name: self.stack_name.clone(),
            endpoint: endpoint.to_owned(),
        };
        Template::read(&name, &text, &inputs).map_err(|error| error.to_string())
    }
}

/// Returns the region from the variables in the SDKs' order. An empty one counts as unset.
fn default_region(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    set.unwrap_or_else(|| Inputs::default().region)
}

/// Returns the template under one of the names that SAM looks for.
fn found_here() -> Result<PathBuf, String> {
    let names = ["template.yaml", "template.yml", "template.json"].map(Path::new);
    let found = names.into_iter().find(|name| name.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        "there is no template.yaml, template.yml or template.json here; name the template as an argument".to_owned()
    })
}

fn parameter(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_comes_from_the_first_variable_that_is_set() {
        let region = |set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            default_region(value)
        };
        assert_eq!(region(&[]), "us-east-1");
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b")]), "b");
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")]), "a");
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "")]), "b");
    }
}
