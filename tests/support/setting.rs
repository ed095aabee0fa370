//! Settings of simulations from the environment.

use std::env;
use std::str::FromStr;

/// Returns the number of messages and the seed: the defaults, or `REDRIVE_SIMULATION_MESSAGES` and
/// `REDRIVE_SIMULATION_SEED`. A test that fails prints them.
pub(crate) fn messages_and_seed(messages: usize, seed: u64) -> (usize, u64) {
    let messages = setting("REDRIVE_SIMULATION_MESSAGES", messages);
    let seed = setting("REDRIVE_SIMULATION_SEED", seed);
    println!("REDRIVE_SIMULATION_MESSAGES={messages} REDRIVE_SIMULATION_SEED={seed}");
    (messages, seed)
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
