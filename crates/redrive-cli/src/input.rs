//! The template that a command is about.

use std::path::{Path, PathBuf};

use clap::Args;

use redrive_local::template::{Inputs, Template};

/// Which template, and what it is to be worked out with.
#[derive(Args)]
pub(super) struct TemplateArguments {
    /// The SAM or CloudFormation template; without it, template.yaml, template.yml or template.json in this directory
    template: Option<PathBuf>,
    /// A value for a parameter of the template, in place of its default
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// What `AWS::Region` stands for; without it the value of AWS_REGION or AWS_DEFAULT_REGION, or else us-east-1, or the region
    /// of an --endpoint-url
    #[arg(long)]
    region: Option<String>,
    /// What `AWS::StackName` stands for
    #[arg(long, default_value = "local")]
    pub(super) stack_name: String,
}

impl TemplateArguments {
    /// Reads the template, as if it were for an account.
    pub(super) fn read(&self, account: Option<&str>) -> Result<Template, String> {
        let region = self.region();
        self.read_with(account, &region, &format!("https://sqs.{region}.amazonaws.com"))
    }

    /// The region of all that the template makes.
    pub(super) fn region(&self) -> String {
        self.region.clone().unwrap_or_else(|| default_region(|name| std::env::var(name).ok()))
    }

    /// The same, with queues at another endpoint, and in its region unless another is named.
    pub(super) fn read_with(&self, account: Option<&str>, region: &str, endpoint: &str) -> Result<Template, String> {
        let file = match &self.template {
            Some(file) => file.clone(),
            None => found_here()?,
        };
        let bytes = std::fs::read(&file)
            .map_err(|error| format!("cannot read {}: {error}; name the template as an argument", file.display()))?;
        let name = file.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            format!("{name} is no text: byte {} of it is not UTF-8; save it as that", error.utf8_error().valid_up_to())
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

/// The variables go in the order that the SDKs have them in, and an empty one counts as none.
fn default_region(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    set.unwrap_or_else(|| Inputs::default().region)
}

/// The names that SAM looks for.
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
    fn the_region_is_that_of_the_variables_if_one_is_set() {
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
