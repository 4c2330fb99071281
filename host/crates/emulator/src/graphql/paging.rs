//! Connections: which part of a list is given, and how the next part is asked for.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Error, ErrorExtensions as _, OutputType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Things in one page. 250, as the platform documents.
const PAGE_MAX: i32 = 250;

/// What a connection is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Paging {
    pub(super) first: Option<i32>,
    pub(super) last: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) before: Option<String>,
    pub(super) reverse: bool,
}

/// Where something stands in its list: its sort value, then its id. It keeps its place when what was there is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(rename = "last_value")]
    value: String,
    #[serde(rename = "last_id")]
    id: u64,
}

impl Place {
    pub(super) fn new(value: impl Into<String>, id: u64) -> Self {
        Self { value: value.into(), id }
    }

    /// Sorted by a number.
    pub(super) fn at(number: usize, id: u64) -> Self {
        Self::new(format!("{number:020}"), id)
    }

    fn encode(&self) -> String {
        STANDARD.encode(serde_json::to_string(self).unwrap_or_default())
    }

    fn decode(cursor: &str) -> Result<Self, Error> {
        let place = STANDARD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        place.ok_or_else(|| bad("Invalid cursor for current pagination sort."))
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", "BAD_REQUEST"))
}

impl Paging {
    /// How many are asked for.
    fn size(&self) -> Result<usize, Error> {
        let asked = match (self.first, self.last) {
            (None, None) => return Err(bad("you must provide one of first or last")),
            (Some(_), Some(_)) => return Err(bad("providing both first and last is not supported")),
            (Some(asked), None) | (None, Some(asked)) => asked,
        };
        if asked > PAGE_MAX {
            return Err(bad(format!("{asked} is more than a page can have, which is {PAGE_MAX}")));
        }
        usize::try_from(asked).map_err(|_| bad(format!("{asked} is negative; a page has 0 to {PAGE_MAX}")))
    }

    /// The page of a list.
    pub(super) fn page<T, N: OutputType>(
        &self,
        items: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> Place,
        node: impl Fn(T) -> N,
    ) -> Result<Connection<String, N>, Error> {
        let size = self.size()?;
        let mut items: Vec<_> = items.into_iter().map(|item| (place(&item), item)).collect();
        items.sort_by(|(left, _), (right, _)| left.cmp(right));
        if self.reverse {
            items.reverse();
        }
        let passed = |place: &Place, cursor: &Place| if self.reverse { place <= cursor } else { place >= cursor };
        let all = items.len();
        let (mut start, mut end) = (0, all);
        if let Some(after) = &self.after {
            let after = Place::decode(after)?;
            start = items.partition_point(|(place, _)| !passed(place, &after) || *place == after);
        }
        if let Some(before) = &self.before {
            let before = Place::decode(before)?;
            end = items.partition_point(|(place, _)| !passed(place, &before)).max(start);
        }
        if self.first.is_some() {
            end = end.min(start + size);
        } else {
            start = start.max(end.saturating_sub(size));
        }
        let mut connection = Connection::new(start > 0, end < all);
        let page = items.into_iter().skip(start).take(end - start);
        connection.edges = page.map(|(place, item)| Edge::new(place.encode(), node(item))).collect();
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::{Paging, Place};

    fn ids(paging: &Paging) -> (Vec<u64>, Vec<String>, bool, bool) {
        let page = paging.page(1..=5_u64, |id| Place::new("", *id), |id| id).unwrap();
        let cursors = page.edges.iter().map(|edge| edge.cursor.clone()).collect();
        (page.edges.iter().map(|edge| edge.node).collect(), cursors, page.has_previous_page, page.has_next_page)
    }

    #[test]
    fn pages_follow_each_other_in_both_directions() {
        let two = Paging { first: Some(2), ..Paging::default() };
        let (found, cursors, previous, next) = ids(&two);
        assert_eq!((found, previous, next), (vec![1, 2], false, true));
        let after = Paging { after: cursors.last().cloned(), ..two.clone() };
        let (found, cursors, previous, next) = ids(&after);
        assert_eq!((found, previous, next), (vec![3, 4], true, true));
        let before = Paging { last: Some(1), before: cursors.first().cloned(), ..Paging::default() };
        assert_eq!(ids(&before).0, [2]);
        let (found, cursors, ..) = ids(&Paging { reverse: true, ..two.clone() });
        assert_eq!(found, [5, 4]);
        let after = Paging { after: cursors.last().cloned(), reverse: true, ..two };
        assert_eq!(ids(&after).0, [3, 2]);
    }

    #[test]
    fn a_cursor_outlives_what_it_stood_for() {
        let paging = Paging { first: Some(9), after: Some(Place::new("", 3).encode()), ..Paging::default() };
        let page = paging.page([1_u64, 2, 4, 5], |id| Place::new("", *id), |id| id).unwrap();
        assert_eq!(page.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_page_has_a_size() {
        for (first, last) in [(None, None), (Some(251), None), (Some(-1), None), (Some(1), Some(1))] {
            let paging = Paging { first, last, ..Paging::default() };
            assert!(paging.page([1_u64], |id| Place::new("", *id), |id| id).is_err(), "{first:?} {last:?}");
        }
    }
}
