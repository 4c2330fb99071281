//! A product's name in addresses.

use super::Product;

/// Letters and digits in lower case, everything else one hyphen.
pub(crate) fn handle(title: &str) -> String {
    let mut handle = String::new();
    for letter in title.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            handle.push(letter);
        } else if letter != '\'' && !handle.is_empty() && !handle.ends_with('-') {
            handle.push('-');
        }
    }
    let handle = handle.trim_end_matches('-');
    if handle.is_empty() { "product".to_owned() } else { handle.to_owned() }
}

/// The handle, or the handle with the first number that nobody else has.
pub(crate) fn free<'a>(wanted: &str, id: u64, others: impl Iterator<Item = &'a Product>) -> String {
    let taken: std::collections::HashSet<&str> = others
        .filter(|product| product.id != id && product.handle.starts_with(wanted))
        .map(|product| product.handle.as_str())
        .collect();
    if !taken.contains(wanted) {
        return wanted.to_owned();
    }
    // One more candidate than there are others: one of them is free.
    let mut candidates = (1..=taken.len() + 1).map(|number| format!("{wanted}-{number}"));
    candidates.find(|candidate| !taken.contains(candidate.as_str())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn handles_are_what_addresses_can_hold() {
        let cases = [("Wool Hat", "wool-hat"), ("  A & B -- C! ", "a-b-c"), ("Élan 2", "élan-2"), ("!!", "product")];
        for (title, expected) in cases {
            assert_eq!(handle(title), expected, "{title}");
        }
    }
}
