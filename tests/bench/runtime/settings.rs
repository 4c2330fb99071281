//! What each setting of the pool gives: the measurements behind the default of [`Tuning`].

use tradewind_runtime::{RuntimeConfig, Tuning};

/// Settings to compare: a name, and how they differ from the default. Each gets a pool of its own, which reserves
/// 4 TiB of the 128 TiB that a process can address.
pub(crate) fn all() -> Vec<(String, Tuning)> {
    let default = Tuning::default();
    let mut all = vec![("default".to_owned(), default.clone())];
    let nothing = Tuning { memory_keep_resident_bytes: 0, table_keep_resident_bytes: 0, ..default.clone() };
    all.push(("nothing kept resident".to_owned(), nothing));
    for kib in [128, 512, 2_048, 8_192] {
        for (scan_dirty_pages, how) in [(true, "dirty pages scanned"), (false, "no scan")] {
            let memory_keep_resident_bytes = kib << 10;
            let tuning = Tuning { memory_keep_resident_bytes, scan_dirty_pages, ..default.clone() };
            all.push((format!("{kib} KiB of memory kept, {how}"), tuning));
        }
    }
    for kib in [0, 64] {
        let tuning = Tuning { table_keep_resident_bytes: kib << 10, ..default.clone() };
        all.push((format!("default, {kib} KiB of tables kept"), tuning));
    }
    all
}

/// The runtime's configuration with these settings.
pub(crate) fn config(tuning: Tuning) -> RuntimeConfig {
    RuntimeConfig { tuning, ..RuntimeConfig::default() }
}
