//! Explains a failed call to the user.

use redrive::internals::call_error::Trouble;

/// Returns one line: what failed, why, and what to do.
pub(crate) fn explained(trouble: Trouble, text: &str, what: &str, endpoint: &str) -> String {
    match trouble {
        Trouble::Unreachable => format!(
            "{what}: no server listens at {endpoint}; start `redrive dev` or the server for that address, or name another SQS \
                 with --endpoint-url"
        ),
        Trouble::NoCredentials => format!(
            "{what}: the credentials for {endpoint} cannot be loaded ({text}); set AWS_PROFILE, or sign in with `aws sso login`"
        ),
        Trouble::NoQueue => format!("{what}: there is no such queue at {endpoint} ({text}); check its name"),
        Trouble::Denied => format!("{what}: {endpoint} does not allow it ({text}); check credentials and policies"),
        Trouble::NoSqs => {
            format!(
                "{what}: the server at {endpoint} does not speak SQS ({text}); name another one with --endpoint-url"
            )
        }
        Trouble::Lost | Trouble::Unsent | Trouble::Busy | Trouble::Refused | Trouble::TooLarge => {
            format!("{what} at {endpoint}: {text}")
        }
    }
}
