//! Objects as plugins write them, read strictly: the one way from JSON to options, queries, parameters and values.
//!
//! A member that appears twice has no meaning here: whoever reads the first and whoever reads the last would disagree on what
//! was asked for. Names are compared as they read, not as they are spelled. Objects of platforms, which nobody here can
//! correct, are read leniently elsewhere.

use std::collections::HashSet;

use crate::json::Json;
use crate::near::hint;

/// Problems that are told of one object. 20: a person reads them.
const PROBLEMS_MAX: usize = 20;

/// Characters of a name that are shown. 64: a name that was meant is shorter.
const SHOWN_CHARS_MAX: usize = 64;

/// The members of an object, each once; `what` names the object. An error: what is wrong, in words.
pub fn members(json: &Json, what: &str) -> Result<Vec<(String, Json)>, String> {
    let members = json.members().ok_or_else(|| format!("{what} is not a JSON object"))?;
    match doubled(members.iter().map(|(name, _)| name.as_str())) {
        Some(name) => Err(appears_twice(name, what)),
        None => Ok(members),
    }
}

/// The members of an object of optional members: those that are there and not `null`, which means none. Everything that is
/// wrong is added to `problems`.
pub fn optional(json: &Json, what: &str, known: &[&str], problems: &mut Vec<String>) -> Vec<(String, Json)> {
    if json.is_null() {
        return Vec::new();
    }
    let Some(members) = json.members() else {
        let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        problems.push(format!("{what} is not a JSON object; hint: it takes {}", known.join(", ")));
        return Vec::new();
    };
    let (mut seen, mut told) = (HashSet::new(), 0);
    let mut given = Vec::new();
    for (name, value) in members {
        let problem = if !known.contains(&name.as_str()) {
            Some(format!("{what} has no `{}`; {}", shown(&name), hint(&name, known.iter().copied())))
        } else if !seen.insert(name.clone()) {
            Some(appears_twice(&name, what))
        } else {
            None
        };
        match problem {
            Some(_) if told >= PROBLEMS_MAX => {}
            Some(problem) => {
                told += 1;
                problems.push(problem);
            }
            None if value.is_null() => {}
            None => given.push((name, value)),
        }
    }
    given
}

/// The first name that is there twice.
pub fn doubled<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// What is told of a member that is there twice.
pub fn appears_twice(name: &str, what: &str) -> String {
    format!("`{}` appears twice in {what}; hint: keep one", shown(name))
}

/// A name as far as it is shown.
pub fn shown(name: &str) -> String {
    let cut = name.char_indices().nth(SHOWN_CHARS_MAX);
    cut.map_or_else(|| name.to_owned(), |(at, _)| format!("{}…", &name[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn each_member_is_there_once() {
        let check = |text: &str, expected: Result<usize, &str>| {
            let read = members(&json(text), "the key").map(|members| members.len());
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        };
        check("{}", Ok(0));
        check(r#"{"a":1,"A":1}"#, Ok(2));
        check(r#"{"a":1,"\u0061":null}"#, Err("`a` appears twice in the key; hint: keep one"));
        check("[]", Err("the key is not a JSON object"));
        check("null", Err("the key is not a JSON object"));
    }

    #[test]
    fn optional_members_are_named_when_they_are_wrong() {
        let read = |text: &str| {
            let mut problems = Vec::new();
            let given = optional(&json(text), "`options`", &["select", "scope"], &mut problems);
            (given.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), problems)
        };
        assert_eq!(read("null"), (Vec::new(), Vec::new()));
        assert_eq!(read(r#"{"select":null,"sc\u006fpe":1}"#), (vec!["scope".to_owned()], Vec::new()));
        let (_, problems) = read(r#"{"scope":"app","scope":null,"Scope":1}"#);
        let expected = [
            "`scope` appears twice in `options`; hint: keep one",
            "`options` has no `Scope`; hint: did you mean `scope`?",
        ];
        assert_eq!(problems, expected);
        assert_eq!(read("7").1, ["`options` is not a JSON object; hint: it takes `select`, `scope`"]);
        let many: Vec<_> = (0..1_000).map(|at| format!("\"{at}{}\":1", "x".repeat(500))).collect();
        let (_, problems) = read(&format!("{{{}}}", many.join(",")));
        assert!(problems.len() == PROBLEMS_MAX && problems.iter().all(|problem| problem.len() < 400), "{problems:?}");
    }
}
