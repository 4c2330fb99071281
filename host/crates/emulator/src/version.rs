//! Versions of the API: one a quarter, each supported for a year.

/// One version, and what the platform says of it.
pub(crate) struct Version {
    pub(crate) handle: &'static str,
    pub(crate) display_name: &'static str,
    pub(crate) supported: bool,
}

const fn version(handle: &'static str, display_name: &'static str, supported: bool) -> Version {
    Version { handle, display_name, supported }
}

/// The oldest supported first.
pub(crate) const VERSIONS: &[Version] = &[
    version("2026-01", "2026-01", true),
    version("2026-04", "2026-04", true),
    version("2026-07", "2026-07", true),
    version("2026-10", "2026-10 (Latest)", true),
    version("2027-01", "2027-01 (Release candidate)", false),
    version("unstable", "unstable", false),
];

/// What is meant when nobody says.
pub(crate) const USUAL: &str = "2026-07";

/// The version that answers: what is no longer supported falls forward to the oldest that is. Nothing for what was never a
/// version.
pub(crate) fn answering(requested: &str) -> Option<&'static str> {
    if let Some(known) = VERSIONS.iter().find(|version| version.handle == requested) {
        return Some(known.handle);
    }
    let (year, month) = requested.split_once('-')?;
    let quarterly =
        year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) && matches!(month, "01" | "04" | "07" | "10");
    let oldest = VERSIONS.first()?.handle;
    (quarterly && requested < oldest).then_some(oldest)
}

#[cfg(test)]
mod tests {
    use super::answering;

    #[test]
    fn versions_fall_forward() {
        let cases = [
            ("2026-07", Some("2026-07")),
            ("2019-04", Some("2026-01")),
            ("2031-01", None),
            ("2026-02", None),
            ("unstable", Some("unstable")),
            ("latest", None),
        ];
        for (requested, expected) in cases {
            assert_eq!(answering(requested), expected, "{requested}");
        }
    }
}
