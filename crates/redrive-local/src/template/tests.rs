//! Tests whole templates: their parsed content, and the limits that protect the reader.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Template {
    Template::read("t.yaml", text, &Inputs::default()).unwrap()
}

fn error(text: &str) -> String {
    Template::read("t.yaml", text, &Inputs::default()).unwrap_err().to_string()
}

fn with(parameters: &[(&str, &str)]) -> Inputs {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { parameters, ..Inputs::default() }
}

const OURS: &str = include_str!("../../../../template.yaml");

#[test]
fn template_of_this_repository_has_two_queues_a_function_and_a_mapping() {
    let template = read(OURS);
    let [queue, dead_letters] = &template.queues[..] else { panic!("{:?}", template.queues) };
    let [function] = &template.functions[..] else { panic!("{:?}", template.functions) };
    let [mapping] = &template.mappings[..] else { panic!("{:?}", template.mappings) };

    assert_eq!(queue.name, "local-orders");
    assert_eq!(queue.number(VISIBILITY_TIMEOUT), Some(240));
    assert_eq!(queue.redrive.as_ref().unwrap().target.known(), Some(&dead_letters.arn));
    let allow = &dead_letters.attributes().unwrap()["RedriveAllowPolicy"];
    assert!(allow.contains("arn:aws:sqs:us-east-1:000000000000:local-orders"), "{allow}");

    assert_eq!((function.timeout_s.known(), function.binary.as_deref()), (Some(&30), Some("orders")));
    assert_eq!(function.environment[0].1.known().unwrap(), "64");

    assert_eq!((mapping.id.as_str(), mapping.source.known()), ("OrdersBatches", Some(&queue.arn)));
    assert_eq!((mapping.batch_size.as_ref().unwrap().known(), mapping.window_s()), (Some(&10), Some(0)));
    assert_eq!(template.watched.len(), 2);
    assert!(template.broken.is_empty());
}

#[test]
fn given_parameter_replaces_its_default() {
    let arn = "arn:aws:sqs:eu-central-1:123456789012:theirs.fifo";
    let template = Template::read("t.yaml", OURS, &with(&[("ExistingQueueArn", arn)])).unwrap();
    assert!(template.queues.is_empty());
    assert_eq!(template.mappings[0].source.known().unwrap(), arn);
    assert!(template.mappings[0].window_s.is_none(), "a FIFO queue has no window");

    let error = Template::read("t.yaml", OURS, &with(&[("ExistingQueueArm", arn)])).unwrap_err().to_string();
    assert!(error.contains("no parameter `ExistingQueueArm`; it has `AlarmTopicArn`, "), "{error}");
}

#[test]
fn queue_without_a_known_name_is_named_after_its_resource() {
    let template = read(
        "Resources:
  Plain: {Type: AWS::SQS::Queue}
  Ordered: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Imported: {Type: AWS::SQS::Queue, Properties: {QueueName: !ImportValue Name}}",
    );
    let names: Vec<&str> = template.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["Plain", "Ordered.fifo", "Imported"]);
    assert_eq!(template.queues[1].url, "https://sqs.us-east-1.amazonaws.com/000000000000/Ordered.fifo");
    assert_eq!(template.queues[1].attributes().unwrap()["FifoQueue"], "true");
}

#[test]
fn functions_inherit_globals_that_they_do_not_set() {
    let template = read(
        "Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Timeout: 20, MemorySize: 128, Environment: {Variables: {A: global, B: global}}}
Resources:
  One: {Type: AWS::Serverless::Function, Properties: {MemorySize: 256, Environment: {Variables: {B: own}}}}
  Two: {Type: AWS::Lambda::Function}",
    );
    let [one, two] = &template.functions[..] else { panic!("{:?}", template.functions) };
    assert_eq!((one.timeout_s.known(), two.timeout_s.known()), (Some(&20), Some(&3)));
    assert_eq!(one.memory_mb.as_ref().unwrap().known(), Some(&256));
    let variables: Vec<_> =
        one.environment.iter().map(|(name, value)| (name.as_str(), value.known().unwrap().as_str())).collect();
    assert_eq!(variables, [("A", "global"), ("B", "own")]);
}

#[test]
fn functions_are_evaluated_in_long_and_short_form() {
    let template = read(
        r#"
Parameters: {Stage: {Type: String, Default: prod}, Names: {Type: CommaDelimitedList, Default: "a, b"}}
Mappings: {Stages: {prod: {Timeout: 60}, test: {Timeout: 6}}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsOdd: !Not [!Or [!Condition IsProd, !Equals [!Ref Stage, test]]]
Resources:
  A:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: {"Fn::Join": ["-", [x, {"Fn::Select": [1, {Ref: Names}]}, {"Fn::Sub": "${Stage}"}]]}
      VisibilityTimeout: !FindInMap [Stages, !Ref Stage, Timeout]
      DelaySeconds: !If [IsOdd, 900, !Ref AWS::NoValue]
      MessageRetentionPeriod: {"Fn::If": [IsProd, 1209600, 60]}
  B:
    Type: AWS::SQS::Queue
    Condition: IsOdd
  C:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub ["${A.QueueName}-${Other}-${!Literal}", {Other: !GetAtt [A, QueueName]}]
"#,
    );
    let [a, c] = &template.queues[..] else { panic!("{:?}", template.queues) };
    assert_eq!((a.name.as_str(), c.name.as_str()), ("x-b-prod", "x-b-prod-x-b-prod-${Literal}"));
    assert_eq!(
        (a.number(VISIBILITY_TIMEOUT), a.number(RETENTION), a.number("DelaySeconds")),
        (Some(60), Some(1_209_600), Some(0))
    );
    assert!(!a.numbers.contains_key("DelaySeconds"), "the default, as it is not set");
}

#[test]
fn unknown_value_is_an_error_only_when_it_is_needed() {
    let template = read(
        "Parameters: {Seconds: {Type: Number}}
Resources:
  A:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: !Ref Seconds",
    );
    let problem = template.queues[0].attributes().unwrap_err().of_file("t.yaml").to_string();
    let expected = "t.yaml:6:26: `VisibilityTimeout` of the queue `A` is needed, but the parameter `Seconds` has no \
                    default; add one, or pass `--parameter Seconds=...` (in a test: `.parameter(\"Seconds\", ..)`)";
    assert_eq!(problem, expected);
}

#[test]
fn value_that_is_mapped_only_in_another_region_is_unknown_here() {
    let text = "Mappings: {Delays: {eu-central-1: {Seconds: 7}}}
Resources: {A: {Type: AWS::SQS::Queue, Properties: {DelaySeconds: !FindInMap [Delays, !Ref AWS::Region, Seconds]}}}";
    let problem = read(text).queues[0].attributes().unwrap_err().text;
    assert!(problem.contains("`Mappings` has no value for `Delays`, `us-east-1`, `Seconds`; add it, or"), "{problem}");
    let there = Inputs { region: "eu-central-1".to_owned(), ..Inputs::default() };
    assert_eq!(Template::read("t.yaml", text, &there).unwrap().queues[0].number("DelaySeconds"), Some(7));
}

#[test]
fn missing_names_are_reported_except_those_of_sam() {
    let template = read(
        "Transform: AWS::Serverless-2016-10-31
Conditions: {Never: !Equals [a, b]}
Resources:
  F: {Type: AWS::Serverless::Function, Properties: {Environment: {Variables: {A: !GetAtt FRole.Arn, B: !Ref Nobody}}}}
  Q: {Type: AWS::SQS::Queue, Condition: Never}
  P: {Type: AWS::SQS::Queue, Properties: {RedrivePolicy: {deadLetterTargetArn: !GetAtt Q.Arn}}}",
    );
    let broken: Vec<String> =
        template.broken.iter().map(|broken| format!("{}: {}", broken.resource, broken.why)).collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken[0].contains("F: there is no resource or parameter `Nobody`"), "{broken:?}");
    assert!(broken[1].contains("P: `Q` is not created, because its condition `Never` is false"), "{broken:?}");
}

#[test]
fn policy_may_be_json_in_a_text() {
    let template = read(
        r#"{"Resources": {"A": {"Type": "AWS::SQS::Queue", "Properties": {
            "RedrivePolicy": "{\"deadLetterTargetArn\": \"arn:aws:sqs:us-east-1:000000000000:D\", \"maxReceiveCount\": \"3\"}"}}}}"#,
    );
    let redrive = template.queues[0].redrive.as_ref().unwrap();
    assert_eq!(redrive.max_receive_count.as_ref().unwrap().known(), Some(&3));
}

#[test]
fn errors_name_the_place_and_the_problem() {
    let queue = |properties: &str| format!("Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties: {properties}");
    for (text, expected) in [
        ("a: 1".to_owned(), "t.yaml:1:1: there are no `Resources` here"),
        ("- a".to_owned(), "t.yaml:1:1: this is a list, not a SAM or CloudFormation template"),
        ("Resources: []".to_owned(), "`Resources` has to be a map, but is a list"),
        ("Resources: {A: {}}".to_owned(), "t.yaml:1:13: the resource `A` has no `Type`"),
        (
            queue("{VisibilityTimeout: soon}"),
            "t.yaml:4:37: `VisibilityTimeout` of the queue `A` has to be a whole number, but is `soon`",
        ),
        (queue("{FifoQueue: [x]}"), "`FifoQueue` of the queue `A` has to be true or false, but is a list"),
        (queue("[x]"), "the queue `A` has to be a map of properties"),
        (queue("{QueueName: }"), "`QueueName` of the queue `A` has to be a text, but is nothing"),
        (queue("{RedrivePolicy: {maxReceiveCount: 5}}"), "has no `deadLetterTargetArn`"),
        (queue("{RedrivePolicy: '{'}"), "is a text but not JSON"),
        (queue("{QueueName: !GetAtt A.Size}"), "a queue has no attribute `Size`"),
        (queue("{QueueName: !Ref A}"), "`A` needs `A`, a circular reference"),
        (queue("{QueueName: !If [Never, a, b]}"), "there is no condition `Never`"),
        (queue("{QueueName: !If [Never, a]}"), "`Fn::If` takes a condition, and a value for each case"),
        (queue("{QueueName: !Sub '${A'}"), "is not closed"),
        (queue("{QueueName: !Select [7, [a]]}"), "`Fn::Select` takes an index"),
        (
            "Conditions: {A: !Not [!Condition B], B: !Not [!Condition A]}\nResources: {Q: {Type: X, Condition: A}}"
                .to_owned(),
            "`condition A` needs `condition B` needs `condition A`, a circular reference",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
    }
}

#[test]
fn template_cannot_grow_without_end() {
    let names = (1..40).map(|n| format!("  Q{n}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Sub '${{Q{0}.QueueName}}${{Q{0}.QueueName}}'}}}}\n", n - 1));
    let names: String = names.collect();
    assert!(error(&format!("Resources:\n  Q0: {{Type: AWS::SQS::Queue}}\n{names}")).contains("grows without end"));

    let conditions: String =
        (1..40).map(|n| format!("  C{n}: !And [!Condition C{0}, !Condition C{0}]\n", n - 1)).collect();
    let text = format!("Conditions:\n  C0: !Equals [a, a]\n{conditions}Resources: {{Q: {{Type: X, Condition: C39}}}}");
    assert!(error(&text).contains("grows without end"));

    let chain: String = (1..5000).map(|n| format!("  C{n}: !Not [!Condition C{}]\n", n - 1)).collect();
    let text = format!("Conditions:\n  C0: !Equals [a, a]\n{chain}Resources: {{Q: {{Type: X, Condition: C4999}}}}");
    assert!(error(&text).contains("functions are nested more than"));
}

/// Generates pieces of templates, so that a random text has a chance to be a template.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "Resources:",
        "\n  ",
        "\n    ",
        "A:",
        "B: ",
        "Type: AWS::SQS::Queue",
        "Properties: ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "- ",
        "!Ref A",
        "!GetAtt A.Arn",
        "!Sub ${A}",
        "!If [C, ",
        "!Join [",
        "Fn::Select: ",
        "&a ",
        "*a",
        "<<: ",
        "Conditions: ",
        "C: ",
        "!Equals [",
        "\"",
        "'",
        "QueueName: ",
        "RedrivePolicy: ",
        "|\n",
        "? ",
        "---",
        "\t",
        "#",
        "\u{0}",
        "é",
        "!",
        "%TAG ! x",
    ];
    prop_oneof![8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn random_text_does_not_break_the_reader(pieces in proptest::collection::vec(piece(), 0..40)) {
        let _ = Template::read("t.yaml", &pieces.concat(), &Inputs::default());
    }

    #[test]
    fn mutated_template_does_not_break_the_reader(start in 0..OURS.len(), length in 0..400_usize, with in piece()) {
        let end = (start + length).min(OURS.len());
        let (before, after) = (OURS.get(..start).unwrap_or_default(), OURS.get(end..).unwrap_or_default());
        let _ = Template::read("t.yaml", &format!("{before}{with}{after}"), &Inputs::default());
    }
}

fn read_with(text: &str, parameters: &[(&str, &str)]) -> Template {
    Template::read("template.yaml", text, &with(parameters)).unwrap()
}

const LOOP: &str = r"
Transform: AWS::LanguageExtensions
Parameters: {Tenants: {Type: CommaDelimitedList, Default: 'North, South'}}
Mappings: {Delays: {North: {Seconds: 5}}}
Conditions:
  Fn::ForEach::Wanted: [Tenant, [North, South], {'Has${Tenant}': !Not [!Equals [!Ref Tenant, South]]}]
Resources:
  Fn::ForEach::Queues:
    - Tenant
    - !Ref Tenants
    - Dead${Tenant}: {Type: AWS::SQS::Queue}
      Work${Tenant}:
        Type: AWS::SQS::Queue
        Properties:
          DelaySeconds: !FindInMap [Delays, !Ref Tenant, Seconds, DefaultValue: 7]
          RedrivePolicy: {deadLetterTargetArn: !GetAtt [!Sub 'Dead${Tenant}', Arn], maxReceiveCount: 5}
";

#[test]
fn loop_makes_its_resources_for_each_item() {
    let template = read(LOOP);
    let names: Vec<_> = template.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["DeadNorth", "WorkNorth", "DeadSouth", "WorkSouth"]);
    let target = |queue: &QueueResource| queue.redrive.clone().unwrap().target.known().cloned();
    assert_eq!(target(&template.queues[3]), Some(template.queues[2].arn.clone()));
    assert_eq!(read_with(LOOP, &[("Tenants", "East")]).queues.len(), 2);
}

#[test]
fn loops_are_nested_and_their_variables_make_ids() {
    let text = r"
Resources:
  Fn::ForEach::Outer:
    - Tenant
    - ['north-1', b]
    - Fn::ForEach::Inner:
        - Kind
        - [Low, High]
        - Q&{Tenant}${Kind}: {Type: AWS::SQS::Queue, Properties: {QueueName: 'q-${Tenant}-${Kind}'}}
";
    let ids: Vec<_> = read(text).queues.iter().map(|queue| format!("{} {}", queue.id, queue.name)).collect();
    assert_eq!(ids, ["Qnorth1Low q-north-1-Low", "Qnorth1High q-north-1-High", "QbLow q-b-Low", "QbHigh q-b-High"]);
}

#[test]
fn impossible_loops_are_refused_with_the_place() {
    let resource = "{Type: AWS::SQS::Queue}";
    let of = |arguments: &str| {
        error(&format!("Parameters: {{P: {{Type: CommaDelimitedList}}}}\nResources:\n  Fn::ForEach::L: {arguments}"))
    };
    assert!(of("[T, [a]]").contains(":3:"), "{}", of("[T, [a]]"));
    assert!(of(&format!("[T, [a, b], {{Same: {resource}}}]")).contains("`Same` twice"));
    assert!(of(&format!("[T, !Ref P, {{'A${{T}}': {resource}}}]")).contains("parameter `P` has no default"));
    assert!(of(&format!("[T, [{{a: b}}], {{'A${{T}}': {resource}}}]")).contains("takes a variable"));
    let items = vec!["x"; 900].join(", ");
    let deep = format!("[A, [{items}], {{'Fn::ForEach::M': [B, [{items}], {{'A${{A}}${{B}}': {resource}}}]}}]");
    assert!(of(&deep).contains("more than"), "{}", of(&deep));
}

/// Returns the name of a queue that a function makes.
fn name(function: &str) -> String {
    let text = format!("Resources: {{Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: {function}}}}}}}");
    read(&text).queues.remove(0).name
}

#[test]
fn values_are_computed_from_values() {
    assert_eq!(name("!Join ['-', [a, !Length [1, 2, 3]]]"), "a-3");
    assert_eq!(name("!Select [1, !GetAZs '']"), "us-east-1b");
    assert_eq!(name("!Select [0, !Split ['=', !Base64 a]]"), "YQ");
    assert_eq!(
        name("!Join ['_', !Split ['.', !Select [0, !Split ['/', !Select [1, !Cidr [10.0.0.0/16, 2, 8]]]]]]"),
        "10_0_1_0"
    );
}

#[test]
fn json_text_keeps_numbers_and_booleans() {
    let filter = |pattern: &str| {
        let text = format!(
            "Resources: {{M: {{Type: AWS::Lambda::EventSourceMapping, Properties: {{EventSourceArn: 'arn:aws:sqs:us-east-1:1:q', \
             FunctionName: f, FilterCriteria: {{Filters: [{{Pattern: {pattern}}}]}}}}}}}}"
        );
        let mapping = read(&text).mappings.remove(0);
        format!("{:?}", mapping.filters)
    };
    let json = filter(
        "!ToJsonString {body: {n: [{numeric: ['>', 5]}], is: [true], text: ['5'], region: [!Ref AWS::Region], none: !Ref AWS::NoValue}}",
    );
    for part in [r#"\"numeric\":[\">\",5]"#, r#"\"is\":[true]"#, r#"\"text\":[\"5\"]"#, r#"\"region\":[\"us-east-1\"]"#]
    {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert!(!json.contains("none"), "{json}");
}

#[test]
fn dynamic_reference_is_unknown_wherever_it_stands() {
    for function in [
        "'{{resolve:ssm:/a}}'",
        "!Sub 'x-{{resolve:ssm:/${AWS::Region}/a}}'",
        "!Join ['', ['{{resolve:', 'ssm:/a}}']]",
        "!Sub ['x-${V}', {V: '{{resolve:secretsmanager:a}}'}]",
    ] {
        assert_eq!(name(function), "Q", "{function}");
    }
}

#[test]
fn arns_have_the_partition_of_the_region() {
    let text = "Resources: {Q: {Type: AWS::SQS::Queue}}";
    for (region, partition) in
        [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eusc-de-east-1", "aws-eusc")]
    {
        let inputs = Inputs { region: region.to_owned(), ..Inputs::default() };
        let queue = Template::read("t", text, &inputs).unwrap().queues.remove(0);
        assert_eq!(queue.arn, format!("arn:{partition}:sqs:{region}:{ACCOUNT}:Q"));
    }
}
