//! `tradewind plugin new`: a plugin that works, with what it needs beside it.
//!
//! The SDK and the contract are part of this program and land in the plugin's `vendor` folder, so that a plugin builds
//! anywhere and always against the contract of the host that made it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use include_dir::{Dir, DirEntry, include_dir};

use crate::cli::{Exit, Fail};

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind plugin new demo
  tradewind plugin new demo --language javascript";

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// What stands for the plugin's name in a template.
const NAME: &str = "plugin-name";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The plugin's name: lower-case words joined by `-`. It is also the name of the new folder.
    name: String,
    /// The language that it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    language: Language,
    /// The folder to make, when it is not the name.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Rust,
    Javascript,
    Python,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Python => "python",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Fail> {
    let Arguments { name, language, folder } = arguments;
    if !is_name(name) {
        return Err(Fail::usage(format_args!(
            "`{name}` is not a plugin's name; hint: lower-case letters and digits in words joined by `-`, such as `tag-orders`"
        )));
    }
    let folder = folder.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        return Err(Fail::usage(format_args!(
            "`{}` is already there; hint: choose another name, or remove it first",
            folder.display()
        )));
    }
    let template = TEMPLATES
        .get_dir(language.name())
        .ok_or_else(|| Fail::failed(format_args!("there is no template for {}", language.name())))?;
    write_folder(template, template.path(), &folder, |text| text.replace(NAME, name))?;
    if matches!(language, Language::Rust) {
        let kit = folder.join("vendor/tradewind");
        let rust = SDK.get_dir("rust").ok_or_else(|| Fail::failed("the Rust SDK is missing in this program"))?;
        write_folder(rust, SDK.path(), &kit.join("sdk"), str::to_owned)?;
        write_folder(&WIT, WIT.path(), &kit.join("wit"), str::to_owned)?;
    }
    println!("made {}\n", folder.display());
    println!("next:\n  cd {}\n  tradewind plugin build", folder.display());
    println!("  tradewind plugin run plugin.wasm --action {name} --before before.json --after after.json");
    Ok(Exit::Fine)
}

/// Writes the SDKs and the contract as they lie in the repository, so that the SDKs' scripts find what they need.
pub(super) fn write_kit(folder: &Path) -> Result<(), Fail> {
    write_folder(&SDK, SDK.path(), &folder.join("sdk"), str::to_owned)?;
    write_folder(&WIT, WIT.path(), &folder.join("wit"), str::to_owned)
}

/// Lower-case letters and digits in words joined by `-`, beginning with a letter.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Writes what is in `folder`, with paths relative to `root`, below `target`.
fn write_folder(
    folder: &Dir<'_>,
    root: &Path,
    target: &Path,
    edit: impl Fn(&str) -> String + Copy,
) -> Result<(), Fail> {
    for entry in folder.entries() {
        match entry {
            // What tools left behind when this program was built is nobody's source.
            DirEntry::Dir(inner) if inner.path().ends_with("__pycache__") || inner.path().ends_with("node_modules") => {
            }
            DirEntry::Dir(inner) => write_folder(inner, root, target, edit)?,
            DirEntry::File(file) => {
                let relative = file.path().strip_prefix(root).unwrap_or(file.path());
                // A template's own manifest has another name, so that cargo does not take it for a package of ours.
                let relative = relative.with_file_name(
                    relative
                        .file_name()
                        .map(|name| name.to_string_lossy().replace(".template", ""))
                        .unwrap_or_default(),
                );
                let path = target.join(relative);
                let written =
                    path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| match file.contents_utf8() {
                        Some(text) => std::fs::write(&path, edit(text)),
                        None => std::fs::write(&path, file.contents()),
                    });
                written.map_err(|error| Fail::failed(format_args!("cannot write `{}`: {error}", path.display())))?;
            }
        }
    }
    Ok(())
}
