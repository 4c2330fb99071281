//! The words that a new shop's products are made of.

/// What a thing is like.
pub(super) const QUALITIES: &[&str] = &[
    "Alpine",
    "Brushed",
    "Canvas",
    "Coastal",
    "Copper",
    "Everyday",
    "Felted",
    "Folding",
    "Harbour",
    "Heirloom",
    "Linen",
    "Midnight",
    "Mountain",
    "Oiled",
    "Quilted",
    "Ribbed",
    "Stoneware",
    "Sunday",
    "Walnut",
    "Waxed",
    "Winter",
    "Woven",
];

/// What a thing is, what kind of thing that is, and what it is chosen by.
pub(super) const THINGS: &[(&str, &str, &[&str])] = &[
    ("Backpack", "Bags", &["Colour"]),
    ("Beanie", "Hats", &["Colour", "Size"]),
    ("Blanket", "Home", &["Colour"]),
    ("Candle & Tray", "Home", &[]),
    ("Coffee Grinder", "Kitchen", &[]),
    ("Jacket", "Clothing", &["Size", "Colour"]),
    ("Lamp", "Home", &["Colour"]),
    ("Mug", "Kitchen", &["Colour"]),
    ("Notebook", "Stationery", &[]),
    ("Scarf", "Clothing", &["Colour"]),
    ("Socks", "Clothing", &["Size"]),
    ("Teapot", "Kitchen", &[]),
    ("Tote", "Bags", &["Colour"]),
    ("T-Shirt", "Clothing", &["Size", "Colour"]),
];

/// Who makes things.
pub(super) const VENDORS: &[&str] =
    &["Fjord & Sons", "Harbour Works", "Kiln/Thread", "Lowland Mill", "North Pier", "Ovis", "Tern Supply"];

/// What is said of a thing, between its name and the care that it needs.
pub(super) const SENTENCES: &[&str] = &[
    "Made in small runs by people who use it themselves.",
    "It softens with every wash & keeps its shape.",
    "Cut from one piece, so there is no seam to wear through.",
    "The colour comes from walnut husks and changes a little in the sun.",
    "We tested it for a year on a ferry, in rain and salt.",
    "Packed without plastic; the box is made to be used again.",
    "Repairs are free for as long as we are here.",
    "A present for somebody who says that they need nothing.",
];

/// How it is looked after.
pub(super) const CARE: &[&str] =
    &["Wash at 30 degrees", "Wipe with a damp cloth", "Keep out of the dishwasher", "Brush when dry", "Air before use"];

/// What a thing is tagged with.
pub(super) const TAGS: &[&str] =
    &["bestseller", "eco", "gift", "handmade", "limited", "new", "outdoor", "sale", "vegan", "winter"];

/// The choices of an option.
pub(super) fn choices(option: &str) -> &'static [&'static str] {
    match option {
        "Size" => &["S", "M", "L", "XL"],
        _ => &["Charcoal", "Moss", "Rust", "Sand"],
    }
}
