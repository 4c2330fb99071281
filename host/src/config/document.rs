//! A TOML file that is read key by key, so that one mistake does not hide the others and each has its place.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use tradewind_model::near::hint;

use super::problem::{Notes, Problem};

/// Bytes of one file. 1 MiB: thousands of shops; a longer one is not a configuration.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file, and where to note what is wrong with it.
pub(super) struct Document<'a> {
    /// As the person who called names it.
    pub(super) file: PathBuf,
    text: &'a str,
    notes: &'a Notes,
}

/// A table, and every key that it may have.
#[derive(Clone)]
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    key: String,
    at: usize,
    /// Keys that it may not have, each with what was said to it.
    unknown: Vec<(&'a str, String)>,
}

/// The value of a key.
#[derive(Clone)]
pub(super) struct Item<'a> {
    document: &'a Document<'a>,
    value: &'a Spanned<DeValue<'a>>,
    key: String,
}

/// Reads a file as text, with a bound on its size.
pub(super) fn text_of(path: &Path, bytes_max: u64) -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

impl<'a> Document<'a> {
    /// A file whose text is read already.
    pub(super) fn new(file: &Path, text: &'a str, notes: &'a Notes) -> Self {
        Self { file: file.to_owned(), text, notes }
    }

    /// Its outermost table; what is not TOML is noted.
    pub(super) fn parse(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            // Only the message: what else the error shows is the line, which may hold a secret.
            let message = error.message().replace('\n', ", ");
            let text =
                format!("this is not TOML: {message}; hint: texts stand in quotes, names of sections in brackets");
            self.problem(error.span().unwrap_or_default().start, "", text);
        }
        table
    }

    /// The outermost table, read.
    pub(super) fn section(&'a self, table: &'a Spanned<DeTable<'a>>, known: &[&str]) -> Section<'a> {
        let section =
            Section { document: self, table: table.get_ref(), key: String::new(), at: 0, unknown: Vec::new() };
        section.of_known(known)
    }

    /// The folder that the file is in: paths in it are relative to that.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn problem(&self, at: usize, key: &str, text: impl Into<String>) {
        self.notes.problem(self.noted(at, key, text.into()));
    }

    fn noted(&self, at: usize, key: &str, text: String) -> Problem {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Problem { file: self.file.clone(), place: Some((line, column)), key: key.to_owned(), text }
    }
}

/// A message of other code, with a hint unless it has one.
pub(super) fn hinted(message: &str, hint: &str) -> String {
    if message.contains("hint: ") { message.to_owned() } else { format!("{message}; hint: {hint}") }
}

/// A key within others, quoted when it has to be.
fn joined(outer: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if outer.is_empty() { key } else { format!("{outer}.{key}") }
}

impl<'a> Section<'a> {
    fn of_known(mut self, known: &[&str]) -> Self {
        for key in self.table.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let name = &**key.get_ref();
            let hint = hint(name, known.iter().copied());
            let text = format!("there is no such key; {hint}");
            self.document.problem(key.span().start, &joined(&self.key, name), text);
            self.unknown.push((name, hint));
        }
        self
    }

    /// Whether it has a key that it may not have, which was noted.
    pub(super) fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// The file that it is in.
    pub(super) fn document(&self) -> &'a Document<'a> {
        self.document
    }

    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<Item<'a>> {
        let value = self.table.get(name)?;
        Some(Item { document: self.document, value, key: joined(&self.key, name) })
    }

    /// The value of a key that has to be there.
    pub(super) fn required(&self, name: &str, example: &str) -> Option<Item<'a>> {
        let item = self.get(name);
        // A mistyped key is one mistake, and what was meant is not missing as well.
        let mistyped = |(key, said): &(&str, String)| *said == hint(key, std::iter::once(name));
        if item.is_none() && !self.unknown.iter().any(mistyped) {
            self.document.problem(
                self.at,
                &joined(&self.key, name),
                format!("it is missing; hint: `{name} = {example}`"),
            );
        }
        item
    }

    /// The table of a key, with every key that it may have.
    pub(super) fn section(&self, name: &str, known: &[&str]) -> Option<Section<'a>> {
        self.get(name)?.section(known)
    }

    /// The elements of a key's list; none when it is not there.
    pub(super) fn list(&self, name: &str) -> Vec<Item<'a>> {
        self.get(name).map(|item| item.list()).unwrap_or_default()
    }

    /// All keys, each with its name.
    pub(super) fn items(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        let Self { document, key: outer, .. } = self.clone();
        self.table.iter().map(move |(name, value)| {
            let name = &**name.get_ref();
            (name, Item { document, value, key: joined(&outer, name) })
        })
    }

    /// Notes that something is wrong with the whole of it.
    pub(super) fn problem(&self, text: impl Into<String>) {
        self.document.problem(self.at, &self.key, text);
    }
}

impl<'a> Item<'a> {
    /// Notes that the value is wrong.
    pub(super) fn problem(&self, text: impl Into<String>) {
        self.document.problem(self.at(), &self.key, text);
    }

    /// Notes that the value may be wrong.
    pub(super) fn warn(&self, text: impl Into<String>) {
        self.document.notes.warning(self.document.noted(self.at(), &self.key, text.into()));
    }

    /// The file that it is in.
    pub(super) fn document(&self) -> &'a Document<'a> {
        self.document
    }

    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    fn at(&self) -> usize {
        self.value.span().start
    }

    fn is_not(&self, wanted: &str, hint: &str) {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("it is {found} and should be {wanted}; hint: {hint}"));
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.is_not("a text", "write it in quotes");
        }
        text
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.problem(format!("`{text}` is not known; {}", hint(text, words.iter().map(|(word, _)| *word))));
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.is_not("`true` or `false`", "without quotes");
        }
        flag
    }

    /// A whole number within a range.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.is_not("a whole number", "digits without quotes, a point or a unit");
            return None;
        };
        let number =
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(format!("`{integer}` is out of range; hint: from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A table, with every key that it may have.
    pub(super) fn section(&self, known: &[&str]) -> Option<Section<'a>> {
        Some(self.table()?.of_known(known))
    }

    /// A table whose keys are names that somebody chose.
    pub(super) fn table(&self) -> Option<Section<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.is_not("a table", "`{ key = value }`, or a section in brackets");
            return None;
        };
        Some(Section { document: self.document, table, key: self.key.clone(), at: self.at(), unknown: Vec::new() })
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Vec<Item<'a>> {
        let Some(list) = self.value.get_ref().as_array() else {
            self.is_not("a list", "`[value, value]`, or a section in double brackets for each");
            return Vec::new();
        };
        let element = |(index, value)| Item { document: self.document, value, key: format!("{}[{index}]", self.key) };
        list.iter().enumerate().map(element).collect()
    }

    /// The texts of a list, none of them twice.
    pub(super) fn texts(&self) -> Vec<(Item<'a>, &'a str)> {
        let mut texts: Vec<(Item<'_>, &str)> = Vec::new();
        for item in self.list() {
            let Some(text) = item.text() else { continue };
            if texts.iter().any(|(_, other)| *other == text) {
                item.problem(format!("`{text}` is there twice; hint: keep one"));
            } else {
                texts.push((item, text));
            }
        }
        texts
    }

    /// A value of a type that reads itself. `hint` is for what the type itself has none for.
    pub(super) fn read<T: Deserialize<'a>>(&self, hint: &str) -> Option<T> {
        match T::deserialize(ValueDeserializer::from(self.value.clone())) {
            Ok(read) => Some(read),
            Err(error) => {
                let at = error.span().map_or(self.at(), |span| span.start);
                self.document.problem(at, &self.key, hinted(error.message(), hint));
                None
            }
        }
    }

    /// A name that stands in URLs and on pages: lower-case letters, digits and `-`.
    pub(super) fn name(&self) -> Option<&'a str> {
        let name = self.text()?;
        if let Some(problem) = name_problem(name) {
            self.problem(problem);
            return None;
        }
        Some(name)
    }
}

/// Bytes of a name. 60: as for models; it is part of URLs and of every row that belongs to it.
const NAME_BYTES_MAX: usize = 60;

/// What is wrong with a name that stands in URLs.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('-');
    (!fits).then(|| {
        format!(
            "`{name}` is no name: lower-case letters, digits and `-`, which is not the first, in at most {NAME_BYTES_MAX} \
             bytes; hint: `product-tagger`"
        )
    })
}
