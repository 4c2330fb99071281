//! Finds the words that a text is about.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Counts of words. The hasher's keys are fixed: a usual map asks the host for randomness in every fresh sandbox.
type Counts<'a> = HashMap<&'a str, usize, BuildHasherDefault<DefaultHasher>>;

/// Words that say nothing about a product.
const STOP_WORDS: &str = "about above after again against also although always another because been before being below \
between both came come could does doing down during each even ever every from further have having here hers herself \
himself into itself just like made make many might more most much must myself never only other ours over same should \
since some such than that their theirs them themselves then there these they this those through under until very want \
well were what when where which while whom will with within without would your yours yourself";

/// The shortest word that counts, in characters.
const WORD_CHARS_MIN: usize = 4;

/// The longest entity name that is looked for behind a `&`, in bytes.
const ENTITY_BYTES_MAX: usize = 10;

/// The most frequent words of an HTML text, at most `limit`; equally frequent ones in alphabetical order.
pub(crate) fn of(html: &str, limit: usize) -> Vec<String> {
    let text = plain(html).to_lowercase();
    let mut counts = Counts::default();
    for word in text.split(|c: char| !(c.is_alphabetic() || c.is_ascii_digit())).filter(|word| counts_as_word(word)) {
        *counts.entry(word).or_default() += 1;
    }
    // Afterwards, because there are far fewer different words than words.
    for stop in STOP_WORDS.split(' ') {
        counts.remove(stop);
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
    words.into_iter().take(limit).map(|(word, _)| word.to_owned()).collect()
}

fn counts_as_word(word: &str) -> bool {
    word.chars().nth(WORD_CHARS_MIN - 1).is_some() && !word.bytes().all(|b| b.is_ascii_digit())
}

/// The text with a space in place of each tag and each entity.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let skip =
            if rest.starts_with('<') { Some(rest.find('>').map_or(rest.len(), |end| end + 1)) } else { entity(rest) };
        match skip {
            Some(length) => {
                text.push(' ');
                rest = &rest[length..];
            }
            None => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text + rest
}

/// The length of the entity that the text begins with.
fn entity(text: &str) -> Option<usize> {
    let name = &text.as_bytes()[1..];
    let length = name.iter().take(ENTITY_BYTES_MAX).position(|b| *b == b';')?;
    name[..length].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'#').then_some(length + 2)
}

#[cfg(test)]
mod tests {
    #[test]
    fn keywords() {
        let check = |html: &str, expected: &[&str]| assert_eq!(super::of(html, 3), expected, "{html}");
        check("", &[]);
        check("<p>Straw hat, straw <b>Hats</b></p>", &["straw", "hats"]);
        check("Salt &amp; pepper&nbsp;mill & more salt", &["salt", "mill", "pepper"]);
        check("Café CAFÉ 2024 12345 4x4s", &["café", "4x4s"]);
        check("with your <unclosed hats", &[]);
        check("delta bravo alpha charlie", &["alpha", "bravo", "charlie"]);
        check("&toolongtobeanentity; &a b;", &["toolongtobeanentity"]);
    }
}
