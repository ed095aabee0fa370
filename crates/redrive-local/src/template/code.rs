//! Decides whether a function is a Rust program. Only Rust programs can be built and run here.

use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Data, Setting, Unknown, Value};

/// The kind of a function's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The template declares a Rust program.
    Rust,
    /// The function runs on a custom runtime or names no runtime, so its package decides.
    Custom,
    /// The function is not a Rust program; `found` describes it.
    Other { place: Place, found: String },
    /// Only an account knows the runtime or package type.
    Unknown { place: Place, what: &'static str, why: Unknown },
}

impl Kind {
    /// Returns the description of a function that is certainly not a Rust program.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::Other { found, .. } => Some(found),
            Self::Rust | Self::Custom | Self::Unknown { .. } => None,
        }
    }

    /// # Errors
    ///
    /// Returns an error when the kind is unknown.
    pub fn need(&self, of: &str) -> Result<(), Problem> {
        match self {
            Self::Unknown { place, what, why } => {
                Err(Problem::new(*place, format!("`{what}` of the function `{of}` is needed, but {why}")))
            }
            Self::Rust | Self::Custom | Self::Other { .. } => Ok(()),
        }
    }
}

/// SAM's build method for Rust programs.
const RUST_BUILD: &str = "rust-cargolambda";
/// A build method that may build any program.
const ANY_BUILD: &str = "makefile";

/// The keys for code in an image.
const IMAGE: [&str; 2] = ["ImageUri", "ImageConfig"];

/// Returns the kind of a function's code from its properties and metadata. AWS runs an image regardless of `Runtime`,
/// and otherwise follows `Runtime`.
pub(super) fn kind(fields: &Fields<'_>, metadata: Option<&Value>) -> Result<Kind, Problem> {
    let package = fields.text("PackageType")?;
    if let Some(kind) = image(fields, package.as_ref()) {
        return Ok(kind);
    }
    if let Some(place) = inline(fields) {
        return Ok(Kind::Other { place, found: "its code is in the template".to_owned() });
    }
    let of_metadata = |key| metadata.and_then(|metadata| metadata.get(key));
    let build = of_metadata("BuildMethod");
    let runtime = fields.text("Runtime")?;
    Ok(match (build.and_then(Value::text), runtime) {
        (_, Some(Setting { place, value: Ok(runtime) })) if !is_custom(&runtime) => {
            Kind::Other { place, found: format!("its Runtime is {runtime}") }
        }
        (Some(RUST_BUILD), _) => Kind::Rust,
        (Some(method), _) if method != ANY_BUILD => {
            let place = build.map_or(fields.place(), |build| build.place);
            Kind::Other { place, found: format!("its BuildMethod is {method}") }
        }
        (_, Some(Setting { place, value: Err(why) })) => Kind::Unknown { place, what: "Runtime", why },
        (_, None) if of_metadata("Dockerfile").is_some() => {
            Kind::Other { place: fields.place(), found: "it is built from a Dockerfile".to_owned() }
        }
        _ => Kind::Custom,
    })
}

fn image(fields: &Fields<'_>, package: Option<&Setting<String>>) -> Option<Kind> {
    let image = |place| Kind::Other { place, found: "its package is an image".to_owned() };
    match package {
        Some(Setting { place, value: Ok(package) }) if package == "Image" => return Some(image(*place)),
        Some(Setting { place, value: Err(why) }) => {
            return Some(Kind::Unknown { place: *place, what: "PackageType", why: why.clone() });
        }
        _ => {}
    }
    let of_code = fields.value.get("Code").and_then(|code| code.get("ImageUri"));
    let of_function = IMAGE.iter().find_map(|key| fields.value.get(key));
    of_function.or(of_code).map(|found| image(found.place))
}

/// Returns the place of code inside the template, which Lambda accepts only for Node.js and Python.
fn inline(fields: &Fields<'_>) -> Option<Place> {
    let of_code = fields.value.get("Code").and_then(|code| code.get("ZipFile"));
    let found = fields.value.get("InlineCode").or(of_code)?;
    (!matches!(found.data, Data::Null)).then_some(found.place)
}

/// Returns whether a runtime is only an operating system, for compiled programs.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html>
fn is_custom(runtime: &str) -> bool {
    runtime == "provided" || runtime.starts_with("provided.")
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Template};
    use super::*;

    /// Returns the kinds of a template's functions.
    fn kinds(text: &str) -> Vec<Kind> {
        let template = Template::read("t.yaml", text, &Inputs::default()).unwrap();
        template.functions.into_iter().map(|function| function.kind).collect()
    }

    /// Returns the description of a function with these properties, which is the same for both resource types.
    fn other(rest: &str) -> Option<String> {
        let of = |kind: &str| {
            let text = format!("Transform: x\nResources: {{F: {{Type: {kind}, {rest}}}}}");
            kinds(&text)[0].other().map(str::to_owned)
        };
        let (sam, plain) = (of("AWS::Serverless::Function"), of("AWS::Lambda::Function"));
        assert_eq!(sam, plain, "{rest}");
        sam
    }

    #[test]
    fn runtime_of_another_language_is_not_rust() {
        for runtime in ["python3.13", "nodejs22.x", "java21", "dotnet8", "ruby3.4", "go1.x", "providedx", "rust"] {
            let found = other(&format!("Properties: {{Runtime: {runtime}, Handler: bootstrap}}"));
            assert_eq!(found, Some(format!("its Runtime is {runtime}")));
        }
        for runtime in ["provided", "provided.al2", "provided.al2023"] {
            assert_eq!(other(&format!("Properties: {{Runtime: {runtime}, Handler: any.handler}}")), None);
        }
        assert_eq!(other("Properties: {Handler: bootstrap}"), None);
    }

    #[test]
    fn image_and_inline_code_are_not_rust_with_any_runtime() {
        for image in ["PackageType: Image", "ImageUri: x", "Code: {ImageUri: x}", "ImageConfig: {Command: [x]}"] {
            let found = other(&format!("Properties: {{Runtime: provided.al2023, {image}}}"));
            assert_eq!(found.as_deref(), Some("its package is an image"), "{image}");
        }
        assert_eq!(other("Properties: {Runtime: provided.al2023, PackageType: Zip}"), None);
        for code in ["InlineCode: x", "Code: {ZipFile: x}"] {
            assert_eq!(other(&format!("Properties: {{{code}}}")).as_deref(), Some("its code is in the template"));
        }
        let found = other("Metadata: {Dockerfile: Dockerfile}");
        assert_eq!(found.as_deref(), Some("it is built from a Dockerfile"));
    }

    #[test]
    fn build_method_decides_for_a_custom_runtime() {
        let of = |method: &str| {
            other(&format!("Metadata: {{BuildMethod: {method}}}, Properties: {{Runtime: provided.al2023}}"))
        };
        assert_eq!(of("go1.x").as_deref(), Some("its BuildMethod is go1.x"));
        assert_eq!((of("rust-cargolambda"), of("makefile")), (None, None));
    }

    #[test]
    fn globals_and_intrinsic_functions_are_considered() {
        let text = "
Transform: x
Parameters: {Language: {Type: String, Default: python3.12}, Custom: {Type: String, Default: provided.al2023}}
Conditions: {Never: !Equals [a, b]}
Globals: {Function: {Runtime: !Ref Language}}
Resources:
  A: {Type: AWS::Serverless::Function}
  B: {Type: AWS::Serverless::Function, Properties: {Runtime: !Ref Custom}}
  C: {Type: AWS::Serverless::Function, Properties: {Runtime: !If [Never, provided.al2023, nodejs22.x]}}
  D: {Type: AWS::Lambda::Function}";
        let others: Vec<_> = kinds(text).iter().map(|kind| kind.other().map(str::to_owned)).collect();
        let runtime = |name: &str| Some(format!("its Runtime is {name}"));
        assert_eq!(others, [runtime("python3.12"), None, runtime("nodejs22.x"), None]);
        let text = "
Transform: x
Globals: {Function: {PackageType: Image}}
Resources: {A: {Type: AWS::Serverless::Function, Properties: {Runtime: provided.al2023}}}";
        assert_eq!(kinds(text)[0].other(), Some("its package is an image"));
    }

    #[test]
    fn unknown_runtime_is_an_error_when_the_kind_is_needed() {
        let function = |metadata: &str| {
            format!(
                "Parameters: {{R: {{Type: String}}}}\nResources: {{F: {{Type: AWS::Lambda::Function{metadata}, \
                 Properties: {{Runtime: !Ref R}}}}}}"
            )
        };
        let problem = kinds(&function(""))[0].need("F").unwrap_err().text;
        assert!(problem.contains("`Runtime` of the function `F` is needed, but the parameter `R`"), "{problem}");
        assert_eq!(kinds(&function(", Metadata: {BuildMethod: rust-cargolambda}")), [Kind::Rust]);
    }
}
