//! What nobody else draws.

/// From the operating system. A generator of our own would be copied with the process, by a snapshot that several are restored from, and
/// each copy would draw what the others do.
pub(crate) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // It fails where a sandbox does not allow the call.
    if getrandom::fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    bytes
}
