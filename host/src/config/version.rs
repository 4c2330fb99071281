//! Versions of Shopify's API: one a quarter, each answered for a year.
//!
//! Facts: the platform's documentation of API versioning. A version that is no longer answered falls forward to the oldest
//! one that is. When a quarter begins, move the constants on.

use super::document::Item;

/// The version that is meant when a connection names none.
pub const API_VERSION: &str = "2026-10";

/// The oldest version that was ever seen to be answered by this program's authors.
const OLDEST_KNOWN: &str = "2024-10";

/// The oldest version that the platform answers.
const OLDEST_ANSWERED: &str = "2026-01";

/// The release candidate, which the platform still changes.
const CANDIDATE: &str = "2027-01";

/// What is wrong with a version, or may be.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warning(String),
    Problem(String),
}

/// The version that an item names.
pub(super) fn read(item: &Item<'_>) -> Option<String> {
    let version = item.text()?;
    match verdict(version) {
        Verdict::Fine => {}
        Verdict::Warning(text) => item.warn(text),
        Verdict::Problem(text) => {
            item.problem(text);
            return None;
        }
    }
    Some(version.to_owned())
}

fn verdict(version: &str) -> Verdict {
    let quarter = version.split_once('-').is_some_and(|(year, month)| {
        year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) && ["01", "04", "07", "10"].contains(&month)
    });
    if !quarter {
        return Verdict::Problem(format!(
            "`{version}` is no version of the API: a year and the first month of a quarter; hint: `{API_VERSION}`"
        ));
    }
    // Versions are ordered as their names are.
    if !(OLDEST_KNOWN..=CANDIDATE).contains(&version) {
        return Verdict::Problem(format!(
            "`{version}` is not among the versions that this host knows, `{OLDEST_KNOWN}` to `{CANDIDATE}`; hint: \
             `{API_VERSION}`"
        ));
    }
    if version < OLDEST_ANSWERED {
        return Verdict::Warning(format!(
            "the platform no longer answers `{version}` and takes its oldest version instead; hint: `{API_VERSION}`"
        ));
    }
    if version == CANDIDATE {
        return Verdict::Warning(format!(
            "`{version}` is a release candidate, which the platform still changes; hint: `{API_VERSION}`"
        ));
    }
    Verdict::Fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_quarters_that_are_known() {
        let check = |version: &str, expected: &str| {
            let said = match verdict(version) {
                Verdict::Fine => "fine".to_owned(),
                Verdict::Warning(text) => format!("warning {text}"),
                Verdict::Problem(text) => format!("problem {text}"),
            };
            assert!(said.starts_with(expected), "{version}: {said}");
        };
        check(API_VERSION, "fine");
        check("2026-01", "fine");
        check("2025-10", "warning the platform no longer answers");
        check("2024-10", "warning the platform no longer answers");
        check("2024-07", "problem `2024-07` is not among");
        check("2027-01", "warning `2027-01` is a release candidate");
        check("2027-04", "problem `2027-04` is not among");
        for wrong in ["2026-02", "2026-1", "26-10", "202a-10", "unstable", "2026-10-01", ""] {
            check(wrong, &format!("problem `{wrong}` is no version"));
        }
    }
}
