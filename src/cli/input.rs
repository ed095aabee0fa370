//! The template that a command is about.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::local::template::{Inputs, Template};

/// Which template, and what it is to be worked out with.
#[derive(Args)]
pub(super) struct TemplateArguments {
    /// The SAM or CloudFormation template; without it, template.yaml, template.yml or template.json in this directory
    template: Option<PathBuf>,
    /// A value for a parameter of the template, in place of its default
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// What `AWS::Region` stands for; without it us-east-1, or the region of an --endpoint-url
    #[arg(long)]
    region: Option<String>,
    /// What `AWS::StackName` stands for
    #[arg(long, default_value = "local")]
    pub(super) stack_name: String,
}

const DEFAULT_REGION: &str = "us-east-1";

impl TemplateArguments {
    /// Reads the template, as if it were for an account.
    pub(super) fn read(&self, account: Option<&str>) -> Result<Template, String> {
        let region = self.region.as_deref().unwrap_or(DEFAULT_REGION);
        self.read_with(account, region, &format!("https://sqs.{region}.amazonaws.com"))
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
