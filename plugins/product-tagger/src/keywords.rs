//! Finds the words that a text is about.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// How often each word occurs. Not hashed as usual: that asks the host for randomness in every fresh sandbox, and guards
/// against texts that are made to be slow, which the sandbox's limits do anyway.
type Counts<'a> = HashMap<&'a str, usize, BuildHasherDefault<Fnv>>;

/// How many different words fit before the map has to grow.
const WORDS_EXPECTED: usize = 200;

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
    let text = html.to_lowercase();
    let mut counts = Counts::with_capacity_and_hasher(WORDS_EXPECTED, BuildHasherDefault::default());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.find(|c| !in_word(c)).unwrap_or(rest.len()));
        if counts_as_word(word) {
            *counts.entry(word).or_default() += 1;
        }
        rest = &behind[separator(behind)..];
    }
    // Afterwards, because there are far fewer different words than words.
    for stop in STOP_WORDS.split(' ') {
        counts.remove(stop);
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
    words.into_iter().take(limit).map(|(word, _)| word.to_owned()).collect()
}

/// The hash of Fowler, Noll and Vo, good for short texts, turned so that its high bits, which the map uses, are good too.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

fn in_word(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit()
}

fn counts_as_word(word: &str) -> bool {
    word.chars().nth(WORD_CHARS_MIN - 1).is_some() && !word.bytes().all(|b| b.is_ascii_digit())
}

/// The length of what separates two words, at the beginning of the text: a tag, an entity or one character.
fn separator(text: &str) -> usize {
    match text.chars().next() {
        None => 0,
        Some('<') => text.find('>').map_or(text.len(), |end| end + 1),
        Some('&') => entity(text).unwrap_or(1),
        Some(other) => other.len_utf8(),
    }
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
