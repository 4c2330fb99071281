//! Lists of the REST API: filters, pages, and the `Link` to the pages beside.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Refusal;
use crate::catalog::{Product, Status};

/// Resources in one page when nobody says. 50, as the platform documents.
const PAGE_USUAL: usize = 50;

/// Resources in one page. 250, as the platform documents.
const PAGE_MAX: usize = 250;

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) limit: usize,
    pub(super) fields: Vec<String>,
    pub(super) since_id: u64,
    pub(super) topic: Option<String>,
    pub(super) address: Option<String>,
    filter: Filter,
    position: Option<Position>,
}

/// What products are taken; a part of what a page's link carries, because nothing may stand beside it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Filter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_min: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at_max: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at_min: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at_max: Option<Timestamp>,
}

/// Where a page is: after an id, or before one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Position {
    After(u64),
    Before(u64),
}

/// What `page_info` carries.
#[derive(Debug, Serialize, Deserialize)]
struct PageInfo {
    position: Position,
    filter: Filter,
}

/// A page, and where those beside it are.
pub(super) struct Page<'a> {
    pub(super) items: Vec<&'a Product>,
    pub(super) link: Option<String>,
}

fn bad(name: &str, problem: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, json!({ name: problem }))
}

impl Query {
    /// Reads what stands behind the `?`. Parameters that nobody knows are passed over, as by the platform.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut parsed = Self { limit: PAGE_USUAL, ..Self::default() };
        // The host is not looked at: only the library's way of reading a query is wanted.
        let url = Url::parse(&format!("http://localhost/?{}", query.unwrap_or_default()));
        let url = url.map_err(|_| bad("query", "cannot be read"))?;
        let pairs: Vec<_> = url.query_pairs().collect();
        let paged = pairs.iter().any(|(name, _)| name == "page_info");
        for (name, value) in &pairs {
            if paged && !matches!(name.as_ref(), "page_info" | "limit" | "fields") {
                return Err(bad(name, "cannot be passed when page_info is present"));
            }
            parsed.take(name, value)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let text = || Some(value.to_owned());
        let list = || value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        let time = || value.parse::<Timestamp>().map(Some).map_err(|_| bad(name, "must be a time with an offset"));
        match name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| bad(name, &format!("must be a number from 1 to {PAGE_MAX}")))?;
            }
            "fields" => self.fields = list(),
            "since_id" => self.since_id = value.parse().map_err(|_| bad(name, "must be a number"))?,
            "topic" => self.topic = text(),
            "address" => self.address = text(),
            "ids" => {
                let ids: Result<_, _> = list().iter().map(|id| id.parse()).collect();
                self.filter.ids = ids.map_err(|_| bad(name, "must be numbers, separated by commas"))?;
            }
            "status" => {
                self.filter.statuses = list();
                if self.filter.statuses.iter().any(|status| Status::named(status).is_none()) {
                    return Err(bad(name, "must be active, archived or draft"));
                }
            }
            "title" => self.filter.title = text(),
            "vendor" => self.filter.vendor = text(),
            "product_type" => self.filter.product_type = text(),
            "handle" => self.filter.handle = text(),
            "created_at_min" => self.filter.created_at_min = time()?,
            "created_at_max" => self.filter.created_at_max = time()?,
            "updated_at_min" => self.filter.updated_at_min = time()?,
            "updated_at_max" => self.filter.updated_at_max = time()?,
            "page_info" => {
                let bytes = URL_SAFE_NO_PAD.decode(value).ok();
                let info = bytes.and_then(|bytes| serde_json::from_slice::<PageInfo>(&bytes).ok());
                let info = info.ok_or_else(|| bad(name, "Invalid value."))?;
                self.position = Some(info.position);
                self.filter = info.filter;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a product is one of those that are asked for.
    pub(super) fn takes(&self, product: &Product) -> bool {
        let filter = &self.filter;
        let is = |wanted: &Option<String>, field: &str| wanted.as_ref().is_none_or(|wanted| wanted == field);
        let within = |time: Timestamp, min: Option<Timestamp>, max: Option<Timestamp>| {
            min.is_none_or(|min| time >= min) && max.is_none_or(|max| time <= max)
        };
        product.id > self.since_id
            && (filter.ids.is_empty() || filter.ids.contains(&product.id))
            && (filter.statuses.is_empty() || filter.statuses.iter().any(|status| status == product.status.name()))
            && is(&filter.title, &product.title)
            && is(&filter.vendor, &product.vendor)
            && is(&filter.product_type, &product.product_type)
            && is(&filter.handle, &product.handle)
            && within(product.created_at, filter.created_at_min, filter.created_at_max)
            && within(product.updated_at, filter.updated_at_min, filter.updated_at_max)
    }

    /// The page of a list that is in the order of its ids.
    pub(super) fn page<'a>(
        &self,
        products: impl Iterator<Item = &'a Product>,
        shop: &str,
        version: &str,
    ) -> Result<Page<'a>, Refusal> {
        let all: Vec<_> = products.filter(|product| self.takes(product)).collect();
        let (start, end) = match self.position {
            None => (0, self.limit.min(all.len())),
            Some(Position::After(id)) => {
                let start = all.partition_point(|product| product.id <= id);
                (start, (start + self.limit).min(all.len()))
            }
            Some(Position::Before(id)) => {
                let end = all.partition_point(|product| product.id < id);
                (end.saturating_sub(self.limit), end)
            }
        };
        let items = all.get(start..end).unwrap_or_default().to_vec();
        let mut links = Vec::new();
        if let Some(first) = items.first().filter(|_| start > 0) {
            links.push(self.link(Position::Before(first.id), "previous", shop, version)?);
        }
        if let Some(last) = items.last().filter(|_| end < all.len()) {
            links.push(self.link(Position::After(last.id), "next", shop, version)?);
        }
        Ok(Page { items, link: (!links.is_empty()).then(|| links.join(", ")) })
    }

    fn link(&self, position: Position, relation: &str, shop: &str, version: &str) -> Result<String, Refusal> {
        let info = serde_json::to_vec(&PageInfo { position, filter: self.filter.clone() });
        let info = URL_SAFE_NO_PAD.encode(info.map_err(|_| bad("page_info", "cannot be made"))?);
        let fields = if self.fields.is_empty() { String::new() } else { format!("&fields={}", self.fields.join(",")) };
        let limit = self.limit;
        let path = format!("/admin/api/{version}/products.json?limit={limit}&page_info={info}{fields}");
        Ok(format!("<https://{shop}{path}>; rel=\"{relation}\""))
    }
}
