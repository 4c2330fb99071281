//! What a new shop sells: the same for the same seed.

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::edit::{ImageEdit, ProductEdit, VariantEdit, apply, blank};
use super::{Product, Status, words};

/// The first id that a double cannot hold, plus two: odd, so that whoever rounds it is found out.
const LARGE_ID: u64 = (1 << 53) + 3;

/// Ids of the size that shops have today.
const USUAL_ID: u64 = 8_000_000_000_000;

/// Where ids come from. Every third one is beyond 2^53.
#[derive(Debug)]
pub(crate) struct Ids {
    given: u64,
    step: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        // Even, so that large ids stay odd.
        Self { given: 0, step: 32 + 2 * (seed % 64) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.given += 1;
        let base = if self.given.is_multiple_of(3) { LARGE_ID } else { USUAL_ID };
        base + self.given * self.step
    }
}

/// Products that have been there for a while when the shop is opened.
pub(crate) fn products(count: usize, seed: u64, now: Timestamp, ids: &mut Ids) -> Vec<Product> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).filter_map(|number| product(number, now, &mut rng, ids)).collect()
}

fn product(number: usize, now: Timestamp, rng: &mut StdRng, ids: &mut Ids) -> Option<Product> {
    let created = now.checked_sub(SignedDuration::from_hours(rng.random_range(24..24 * 400))).ok()?;
    let (thing, kind, options) = words::THINGS.choose(rng)?;
    let quality = words::QUALITIES.choose(rng)?;
    let title =
        if rng.random_ratio(1, 4) { format!("{quality} {thing} No. {number}") } else { format!("{quality} {thing}") };
    let sentences: Vec<_> = some(words::SENTENCES, 3, rng);
    let body = format!(
        "<p>The <strong>{}</strong>. {}</p>\n<ul><li>{}</li></ul>",
        title.replace('&', "&amp;"),
        sentences.join(" ").replace('&', "&amp;"),
        words::CARE.choose(rng)?
    );
    let tag_count = rng.random_range(0..4);
    let edit = ProductEdit {
        title: Some(title),
        body_html: Some(body),
        vendor: words::VENDORS.choose(rng).map(|vendor| (*vendor).to_owned()),
        product_type: Some((*kind).to_owned()),
        status: Some(*[Status::Active, Status::Active, Status::Active, Status::Draft, Status::Archived].choose(rng)?),
        tags: Some(some(words::TAGS, tag_count, rng).into_iter().map(str::to_owned).collect()),
        options: Some(options.iter().map(|option| ((*option).to_owned(), Vec::new())).collect()),
        variants: variants(number, options, rng),
        images: Some(images(number, thing, rng)),
        ..ProductEdit::default()
    };
    let id = ids.next();
    apply(&blank(id, "", created), &edit, created, &mut || ids.next()).ok()
}

/// So many neighbours, beginning anywhere.
fn some(words: &'static [&'static str], count: usize, rng: &mut StdRng) -> Vec<&'static str> {
    words.iter().copied().cycle().skip(rng.random_range(0..words.len())).take(count).collect()
}

/// Every combination of the first few choices.
fn variants(number: usize, options: &[&str], rng: &mut StdRng) -> Vec<VariantEdit> {
    let mut combinations: Vec<Vec<String>> = vec![Vec::new()];
    for option in options {
        let choices = &words::choices(option)[..rng.random_range(2..=4)];
        combinations = combinations
            .iter()
            .flat_map(|chosen| choices.iter().map(|choice| [chosen.as_slice(), &[(*choice).to_owned()]].concat()))
            .collect();
    }
    let price = rng.random_range(8..240);
    let variant = |(at, choices): (usize, Vec<String>)| VariantEdit {
        choices: Some(choices),
        price: Some(format!("{price}.{}", if price > 60 { "00" } else { "90" })),
        compare_at_price: rng.random_ratio(1, 5).then(|| Some(format!("{}.00", price + 20))),
        sku: Some(Some(format!("TW-{number:04}-{at:02}"))),
        inventory_quantity: Some(rng.random_range(0..120)),
        ..VariantEdit::default()
    };
    combinations.into_iter().enumerate().map(variant).collect()
}

fn images(number: usize, thing: &str, rng: &mut StdRng) -> Vec<ImageEdit> {
    let image = |at| ImageEdit {
        src: Some(format!("https://cdn.example/products/{number:04}/{at}.jpg")),
        alt: Some(format!("{thing}, seen from {}", if at == 0 { "the front" } else { "the side" })),
        ..ImageEdit::default()
    };
    (0..rng.random_range(0..3)).map(image).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Ids, products};

    #[test]
    fn the_same_seed_gives_the_same_shop() {
        let made = |seed| products(20, seed, Timestamp::UNIX_EPOCH, &mut Ids::new(seed));
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
        assert_eq!(made(7).len(), 20);
    }

    #[test]
    fn some_ids_cannot_be_held_by_a_double() {
        let mut ids = Ids::new(7);
        let given: Vec<_> = (0..9).map(|_| ids.next()).collect();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is lost is what is asked"
        )]
        let rounded = given.iter().filter(|id| (**id as f64) as u64 != **id).count();
        assert_eq!(rounded, 3, "{given:?}");
    }
}
