use super::*;

fn parse(rule: &str) -> Result<Rule, PatternError> {
    Rule::parse(&serde_json::from_str(rule).unwrap(), &PatternPath::root(0))
}

/// Asserts that the rule matches the first values and not the others. All values are JSON.
fn assert_rule(rule: &str, matching: &[&str], others: &[&str]) {
    let parsed = parse(rule).unwrap();
    let matches = |value: &str| parsed.matches(&[&serde_json::from_str(value).unwrap()]);
    for value in matching {
        assert!(matches(value), "{rule} should match {value}");
    }
    for value in others {
        assert!(!matches(value), "{rule} should not match {value}");
    }
}

#[test]
fn value_matches_itself() {
    assert_rule(r#""Alice""#, &[r#""Alice""#], &[r#""alice""#, r#""Alice ""#, "null"]);
    assert_rule(r#""""#, &[r#""""#], &[r#"" ""#, "null", "0"]);
    assert_rule("null", &["null"], &[r#""null""#, r#""""#, "0", "false"]);
    assert_rule("true", &["true"], &["false", r#""true""#, "1"]);
    assert_rule("300", &["300"], &["301", "300.0", r#""300""#]);
}

#[test]
fn exists_matches_a_value_of_any_kind() {
    assert_rule(r#"{"exists":true}"#, &["null", "0", r#""""#], &[]);
    assert_rule(r#"{"exists":false}"#, &[], &["null", "0"]);
    assert!(parse(r#"{"exists":false}"#).unwrap().matches(&[]));
    assert!(!parse(r#"{"exists":true}"#).unwrap().matches(&[]));
}

#[test]
fn prefix_and_suffix_match_only_text() {
    assert_rule(r#"{"prefix":"us-"}"#, &[r#""us-east-1""#, r#""us-""#], &[r#""eu-us-""#, r#""US-""#, "5"]);
    assert_rule(r#"{"suffix":".png"}"#, &[r#""a.png""#], &[r#""a.PNG""#, r#""a.png.gz""#, "5"]);
    assert_rule(r#"{"prefix":{"equals-ignore-case":"EventB"}}"#, &[r#""eventbridge""#], &[r#""xeventb""#]);
    assert_rule(r#"{"suffix":{"equals-ignore-case":"tBridge"}}"#, &[r#""EventBRIDGE""#], &[r#""bridges""#]);
}

#[test]
fn equals_ignore_case_ignores_case() {
    assert_rule(r#"{"equals-ignore-case":"alice"}"#, &[r#""ALICE""#, r#""alice""#], &[r#""alicea""#, "1"]);
}

#[test]
fn wildcard_matches_text() {
    assert_rule(r#"{"wildcard":"dir/*.png"}"#, &[r#""dir/a.png""#], &[r#""dir/a.gif""#, "1"]);
}

#[test]
fn numeric_range_respects_inclusive_and_exclusive_bounds() {
    assert_rule(r#"{"numeric":["=",100]}"#, &["100", "100.0", "1e2"], &["101", r#""100""#]);
    assert_rule(r#"{"numeric":[">",100]}"#, &["100.5"], &["100", "99"]);
    assert_rule(r#"{"numeric":[">=",100]}"#, &["100"], &["99.9"]);
    assert_rule(r#"{"numeric":["<",100]}"#, &["-3"], &["100"]);
    assert_rule(r#"{"numeric":["<=",100]}"#, &["100"], &["100.1"]);
    assert_rule(r#"{"numeric":[">",10,"<=",20]}"#, &["11", "20"], &["10", "21", "null", "true"]);
    assert_rule(r#"{"numeric":[">",10]}"#, &["5e9"], &["5000000001", "1e300"]);
}

#[test]
fn cidr_matches_addresses_of_its_range() {
    assert_rule(r#"{"cidr":"10.0.0.0/24"}"#, &[r#""10.0.0.9""#], &[r#""10.0.1.9""#, "10"]);
}

#[test]
fn anything_but_matches_every_other_present_value() {
    assert_rule(r#"{"anything-but":"x"}"#, &[r#""y""#, "5", "null", "true"], &[r#""x""#]);
    assert_rule(r#"{"anything-but":5}"#, &["6", r#""5""#], &["5", "5.0"]);
    assert_rule(r#"{"anything-but":["x","y"]}"#, &[r#""z""#], &[r#""x""#, r#""y""#]);
    assert_rule(r#"{"anything-but":[100,200]}"#, &["300"], &["100", "200"]);
    assert!(!parse(r#"{"anything-but":"x"}"#).unwrap().matches(&[]), "an absent field has no other value");
}

#[test]
fn anything_but_accepts_nested_text_rules() {
    assert_rule(r#"{"anything-but":{"prefix":"us-"}}"#, &[r#""eu-1""#, "5"], &[r#""us-1""#]);
    assert_rule(r#"{"anything-but":{"prefix":["us-","eu-"]}}"#, &[r#""ap-1""#], &[r#""us-1""#, r#""eu-1""#]);
    assert_rule(r#"{"anything-but":{"suffix":".png"}}"#, &[r#""a.gif""#], &[r#""a.png""#]);
    assert_rule(r#"{"anything-but":{"equals-ignore-case":["a","b"]}}"#, &[r#""c""#], &[r#""A""#, r#""B""#]);
    assert_rule(r#"{"anything-but":{"wildcard":"*/lib/*"}}"#, &[r#""/usr/x""#], &[r#""/usr/lib/x""#]);
}

#[test]
fn one_matching_value_of_several_is_enough() {
    let rule = parse(r#"{"anything-but":"x"}"#).unwrap();
    let (x, y) = (Value::from("x"), Value::from("y"));
    assert!(rule.matches(&[&x, &y]) && !rule.matches(&[&x, &x]));
}

#[test]
fn refusal_names_the_operator_and_the_remedy() {
    let rows = [
        ("[1]", "a list in a list"),
        ("{}", "one operator"),
        (r#"{"prefix":"a","suffix":"b"}"#, "one operator"),
        (r#"{"like":"a"}"#, "at like: unknown operator"),
        (r#"{"exists":"yes"}"#, "at exists: expected true or false"),
        (r#"{"prefix":5}"#, "at prefix: expected a string"),
        (r#"{"suffix":{"equals-ignore-case":5}}"#, "at suffix: expected a string"),
        (r#"{"wildcard":"a**"}"#, "at wildcard: two *"),
        (r#"{"cidr":"10.0.0.0"}"#, "at cidr: expected an address range"),
        (r#"{"numeric":5}"#, "at numeric: expected an operator and a number"),
        (r#"{"numeric":[]}"#, "at numeric: expected an operator and a number"),
        (r#"{"numeric":[">"]}"#, "at numeric: expected an operator and a number"),
        (r#"{"numeric":["!",1]}"#, "at numeric: expected an operator and a number"),
        (r#"{"numeric":["<",5,">",1]}"#, "at numeric: expected an operator and a number"),
        (r#"{"numeric":[">",5,"<",5]}"#, "the lower bound is not below"),
        (r#"{"numeric":[">",5000000001]}"#, "-5.0e9 to 5.0e9"),
        (r#"{"anything-but":[1,"a"]}"#, "at anything-but: expected only strings or only numbers"),
        (r#"{"anything-but":[]}"#, "at anything-but: expected a string, a number"),
        (r#"{"anything-but":true}"#, "at anything-but: expected a string, a number"),
        (r#"{"anything-but":{"numeric":[">",1]}}"#, "at anything-but: expected a string, a number"),
        (r#"{"anything-but":{"prefix":[]}}"#, "at anything-but.prefix: the list is empty"),
        (r#"{"anything-but":{"prefix":["a",5]}}"#, "at anything-but.prefix: expected a string"),
    ];
    for (rule, text) in rows {
        let error = parse(rule).unwrap_err().to_string();
        assert!(error.contains(text), "{rule}: {error}");
    }
}

#[test]
fn every_operator_is_recognized() {
    for operator in ["exists", "anything-but", "prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "cidr"]
    {
        assert!(is_operator(operator));
    }
    assert!(!is_operator("kind"));
}
