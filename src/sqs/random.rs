//! Random bytes that no other process draws.

/// Returns bytes from the operating system. A generator in the process would be copied with it, for example by a
/// snapshot, and each copy would draw the same bytes.
pub(crate) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // The call fails in a sandbox that does not allow it.
    if getrandom::fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    bytes
}
