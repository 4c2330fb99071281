//! What each setting of the pool gives: the measurements behind the default of [`Tuning`].

use tradewind_runtime::{RuntimeConfig, Tuning};

/// Settings to compare: a name, and how they differ from the default.
pub(crate) fn all() -> Vec<(String, Tuning)> {
    let default = Tuning::default();
    let mut all = vec![("default".to_owned(), default.clone())];
    let nothing = Tuning { memory_keep_resident_bytes: 0, table_keep_resident_bytes: 0, ..default.clone() };
    all.push(("nothing kept resident".to_owned(), nothing));
    for scan_dirty_pages in [false, true] {
        for kib in [64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192] {
            let how = if scan_dirty_pages { "dirty pages scanned" } else { "no scan" };
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
