//! What a failed call says to whoever typed the command.

use redrive::internals::call_error::Trouble;

/// One line: what failed, why, and what to do.
pub(crate) fn explained(trouble: Trouble, text: &str, what: &str, endpoint: &str) -> String {
    match trouble {
        Trouble::Unreachable => format!(
            "{what}: nobody listens at {endpoint}; start `redrive dev` or what is to answer there, or name another SQS with \
                 --endpoint-url"
        ),
        Trouble::NoCredentials => format!(
            "{what}: the credentials for {endpoint} cannot be loaded ({text}); set AWS_PROFILE, or sign in with `aws sso login`"
        ),
        Trouble::NoQueue => format!("{what}: there is no such queue at {endpoint} ({text}); check its name"),
        Trouble::Denied => format!("{what}: {endpoint} does not allow it ({text}); check credentials and policies"),
        Trouble::NoSqs => {
            format!("{what}: what answers at {endpoint} is no SQS ({text}); name one with --endpoint-url")
        }
        Trouble::Lost | Trouble::Unsent | Trouble::Busy | Trouble::Refused | Trouble::TooLarge => {
            format!("{what} at {endpoint}: {text}")
        }
    }
}
