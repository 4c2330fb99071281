//! What somebody who mistyped a name may have meant, for the hints of errors.

/// How many names a hint lists.
const HINT_NAMES_MAX: usize = 8;

/// Longer names are like no other: the comparison takes the product of both lengths.
const COMPARED_BYTES_MAX: usize = 128;

/// What somebody who wrote `name` may have meant.
pub fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.map(|known| (distance(name, known), known)).collect();
    known.sort_unstable();
    match known.as_slice() {
        [] => "hint: there are none yet".to_owned(),
        [(near, meant), ..] if *near <= 2.max(name.len() / 3) => format!("hint: did you mean `{meant}`?"),
        _ => {
            let more = if known.len() > HINT_NAMES_MAX { ", …" } else { "" };
            let names: Vec<_> = known.iter().take(HINT_NAMES_MAX).map(|(_, name)| format!("`{name}`")).collect();
            format!("hint: there are {}{more}", names.join(", "))
        }
    }
}

/// How many letters must be changed, added or removed to come from one name to the other; case is no difference.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    // Names are bounded, but what somebody typed is not.
    if a.len() > COMPARED_BYTES_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_what_was_meant() {
        let check = |name: &str, known: &[&str], expected: &str| {
            assert_eq!(hint(name, known.iter().copied()), expected, "{name}");
        };
        check("titel", &["vendor", "title"], "hint: did you mean `title`?");
        check("Title", &["title"], "hint: did you mean `title`?");
        check("price", &["vendor", "title"], "hint: there are `title`, `vendor`");
        check("price", &[], "hint: there are none yet");
        check(
            "zzzz",
            &["a", "b", "c", "d", "e", "f", "g", "h", "i"],
            "hint: there are `a`, `b`, `c`, `d`, `e`, `f`, `g`, `h`, …",
        );
        check(&"x".repeat(10_000), &["title"], "hint: there are `title`");
    }
}
