//! Text of guests, cut while it is produced.

use std::fmt::{self, Write as _};

/// What takes the place of what was cut off.
const CUT: &str = "…";

/// The beginning of a text, at most `max` bytes long, with a mark when there was more.
pub(crate) fn start_of(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub(CUT.len()));
    format!("{}{CUT}", &text[..end])
}

/// The same of something that writes itself, which is stopped when there is enough: it may be far longer than what it is made
/// from.
pub(crate) fn shown(value: impl fmt::Display, max: usize) -> String {
    let mut bounded = Bounded { text: String::new(), max };
    // An error means that it was stopped.
    let _ = write!(bounded, "{value}");
    start_of(&bounded.text, max)
}

struct Bounded {
    text: String,
    max: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte more than is shown, so that what is cut is seen to be.
        let room = (self.max + 1).saturating_sub(self.text.len());
        let end = text.floor_char_boundary(room.min(text.len()));
        self.text.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_where_a_character_ends() {
        assert_eq!(start_of("abc", 3), "abc");
        assert_eq!(start_of("abcd", 3), "…");
        assert_eq!(start_of("ääää", 7), "ää…");
    }

    #[test]
    fn what_writes_itself_without_end_is_stopped() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("ab")?;
                }
            }
        }
        assert_eq!(shown(Endless, 8), "ababa…");
        assert_eq!(shown("x", 8), "x");
    }
}
