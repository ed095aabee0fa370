//! The X-Ray trace header of a message that the user sends again.

/// Returns the header without its `Lineage`, in which Lambda counts the functions that a message has passed. Lambda
/// stops a function that sends to its own queue after about 16 rounds, and would stop its dead letter again at the
/// first one. All other parts stay. Returns `None` if no part is left.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>
pub(super) fn without_lineage(header: &str) -> Option<String> {
    let is_lineage = |part: &&str| {
        let key = part.split_once('=').map_or(*part, |(key, _)| key);
        key.trim().eq_ignore_ascii_case("Lineage")
    };
    let kept: Vec<_> = header.split(';').filter(|part| !is_lineage(part)).collect();
    let is_empty = kept.iter().all(|part| part.trim().is_empty());
    (!is_empty).then(|| kept.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lineage_is_removed() {
        for (header, expected) in [
            ("Root=1-a;Parent=b;Sampled=1;Lineage=a:1:2", Some("Root=1-a;Parent=b;Sampled=1")),
            ("Lineage=a:1|b:2;Root=1-a;Self=x;Own=y", Some("Root=1-a;Self=x;Own=y")),
            ("Root=1-a; lineage=a:1 ;Sampled=0", Some("Root=1-a;Sampled=0")),
            ("Root=1-a;Lineage=a:1;", Some("Root=1-a;")),
            ("Root=1-a;LineageOfMine=1", Some("Root=1-a;LineageOfMine=1")),
            ("Root=1-a", Some("Root=1-a")),
            ("Lineage=a:1", None),
            ("Lineage=a:1;", None),
        ] {
            assert_eq!(without_lineage(header).as_deref(), expected, "{header}");
        }
    }
}
