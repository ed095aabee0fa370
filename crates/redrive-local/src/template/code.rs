//! What kind of code a function has: whether it is a Rust program, which is all that can be built and run here.

use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Data, Setting, Unknown, Value};

/// Whether a function is a Rust program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its template says so.
    Rust,
    /// It may be one: it runs on a custom runtime, or names none. Its package tells.
    Custom,
    /// It is none, and this says what it is.
    Other { place: Place, found: String },
    /// Its runtime or package type is known only in an account.
    Unknown { place: Place, what: &'static str, why: Unknown },
}

impl Kind {
    /// What a function is that is certainly no Rust program.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::Other { found, .. } => Some(found),
            Self::Rust | Self::Custom | Self::Unknown { .. } => None,
        }
    }

    /// # Errors
    ///
    /// Where it is not known.
    pub fn need(&self, of: &str) -> Result<(), Problem> {
        match self {
            Self::Unknown { place, what, why } => {
                Err(Problem::new(*place, format!("`{what}` of the function `{of}` is needed, but {why}")))
            }
            Self::Rust | Self::Custom | Self::Other { .. } => Ok(()),
        }
    }
}

/// What SAM builds a Rust program with.
const RUST_BUILD: &str = "rust-cargolambda";
/// A build method that may build anything.
const ANY_BUILD: &str = "makefile";

/// Where a template has code that is neither a package nor a path: inside an image, or in the template itself.
const IMAGE: [&str; 2] = ["ImageUri", "ImageConfig"];

/// Reads what the properties and the metadata of a function say of its code. AWS runs an image whatever `Runtime` says, and
/// otherwise what `Runtime` names.
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

/// Code that stands in the template is for Node.js and Python alone.
fn inline(fields: &Fields<'_>) -> Option<Place> {
    let of_code = fields.value.get("Code").and_then(|code| code.get("ZipFile"));
    let found = fields.value.get("InlineCode").or(of_code)?;
    (!matches!(found.data, Data::Null)).then_some(found.place)
}

/// Whether a runtime is an operating system alone, on which programs run that were compiled for it.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html>
fn is_custom(runtime: &str) -> bool {
    runtime == "provided" || runtime.starts_with("provided.")
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Template};
    use super::*;

    /// The kinds of the functions of a template.
    fn kinds(text: &str) -> Vec<Kind> {
        let template = Template::read("t.yaml", text, &Inputs::default()).unwrap();
        template.functions.into_iter().map(|function| function.kind).collect()
    }

    /// What a function with these properties is, of either type.
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
    fn a_runtime_that_compiles_or_interprets_another_language_is_not_rust() {
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
    fn an_image_and_code_in_the_template_are_not_rust_whatever_the_runtime_is() {
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
    fn a_build_method_tells_what_a_custom_runtime_runs() {
        let of = |method: &str| {
            other(&format!("Metadata: {{BuildMethod: {method}}}, Properties: {{Runtime: provided.al2023}}"))
        };
        assert_eq!(of("go1.x").as_deref(), Some("its BuildMethod is go1.x"));
        assert_eq!((of("rust-cargolambda"), of("makefile")), (None, None));
    }

    #[test]
    fn globals_and_functions_of_the_template_decide_as_well() {
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
    fn a_runtime_that_is_not_known_is_an_error_for_whoever_needs_it() {
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
