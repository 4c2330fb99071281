//! What a process holds.

/// Bytes that the process holds in memory, where the kernel says so.
pub(super) fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4 << 10;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}
